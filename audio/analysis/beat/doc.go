// Package beat finds tempo, beats, bars and metre of music in its spectra.
//
// How: the rise of the logarithm of the energy in mel bands over 23 ms, where a neighbouring
// band was not as high before (Böck and Widmer, "Maximum filter vibrato suppression for onset
// detection", DAFx 2013), gives the strength of onsets. Its autocorrelation has peaks at the
// beat's period and its multiples, its Fourier transform at the beat's frequency and its
// multiples (Peeters, "Template-based estimation of time-varying tempo", 2007). Which of the
// peaks a listener would tap to, half and double are both right in their way, is decided by
// a linear model of how strong the related periods are (as Percival and Tzanetakis,
// "Streamlined tempo estimation based on autocorrelation and cross-correlation with pulses",
// 2014, do for doubling). Beats are placed by dynamic programming (Ellis, "Beat tracking by
// dynamic programming", 2007).
package beat
