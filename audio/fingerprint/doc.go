// Package fingerprint makes, packs, compares and finds Chromaprint fingerprints, algorithm 2 ("TEST2"), the one that
// AcoustID keeps: an item of 32 bits for each 124 ms of sound.
//
// Extractor makes them in this process from samples of 11,025 Hz. Calculator makes them with the program fpcalc, which
// links the decoders of libavcodec and runs in no sandbox, so it is never given a file of a user: it reads raw PCM from a
// pipe, whose format is fixed on its command line. Both give the same items for the same samples (docs/audio.md has the
// figures). Compare aligns two fingerprints; the package index below finds one among millions.
//
// A match is a proposal that a person or a rule has to confirm. Remasters, edits and worse copies match as well.
//
// Sources: L. Lalinský, "How does Chromaprint work?", 2011; Y. Ke, D. Hoiem, R. Sukthankar, "Computer Vision for Music
// Identification", CVPR 2005; J. Haitsma, T. Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002;
// D. Jang et al., "Pairwise Boosted Audio Fingerprint", 2009; M. A. Bartsch, G. H. Wakefield, "Audio Thumbnailing of
// Popular Music Using Chroma-Based Representations", 2005 (the chroma).
package fingerprint
