// Package analysis says what music is like from its sound alone: tempo, beats and bars, key,
// tuning and chords. PCM streams through once; one set of spectra at 22,050 Hz tells rhythm,
// one at 5,512.5 Hz, where the pitches of melodies and bass lie apart, tells harmony.
// Nothing in it is ever NaN or infinite, and what cannot be told is absent.
package analysis
