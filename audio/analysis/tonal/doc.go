// Package tonal finds tuning, key, mode and chords of music in its spectra.
//
// How: the peaks of each spectrum, set against their surroundings, tell pitches, to whose
// fundamentals each peak counts as a harmonic (Gómez, "Tonal description of polyphonic audio
// for music content processing", 2006). Their common deviation from equal temperament is the
// tuning. Folded to the twelve pitch classes, for bass and tune apart, they give the chord of
// each moment (triads as hidden states, as in Bello and Pickens, "A robust mid-level
// representation for harmonic content", 2005); how much of each degree and each chord there
// is decides between the 24 keys, by a linear model whose weights start from the profiles of
// Krumhansl ("Cognitive foundations of musical pitch", 1990).
package tonal
