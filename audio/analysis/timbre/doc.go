// Package timbre describes the colour of sound: cepstral coefficients of mel spectra (Davis
// and Mermelstein, "Comparison of parametric representations for monosyllabic word
// recognition", 1980), brightness, roll-off and flatness of spectra (Peeters, "A large set of
// audio features for sound description", CUIDADO 2004), and how fast its loudness moves.
package timbre
