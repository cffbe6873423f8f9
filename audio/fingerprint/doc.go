// Package fingerprint makes Chromaprint fingerprints of decoded sound with the
// program fpcalc, and compares them.
//
// fpcalc links the decoders of libavcodec and runs in no sandbox, so it is never
// given a file of a user: it reads raw PCM from a pipe, whose format is fixed on
// its command line.
//
// A match is a proposal that a person or a rule has to confirm. Remasters,
// edits and worse copies match as well.
package fingerprint
