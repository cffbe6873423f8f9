// Package artwork makes cover pictures fit to serve from hostile ones: it reads
// the dimensions first and refuses what is absurd before anything is decoded,
// decodes JPEG, PNG, WebP and the first frame of GIF, and encodes anew as JPEG,
// so that nothing of the source's bytes, metadata included, goes out. SVG is
// never read.
//
// It also finds the accent colour of a cover, in OKLab.
package artwork
