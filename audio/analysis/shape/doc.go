// Package shape finds where in a track what happens: silence and fades at its ends, its
// outline for a seek bar, and its sections, by where the music becomes unlike what was
// before (Foote, "Automatic audio segmentation using a measure of audio novelty", 2000).
package shape
