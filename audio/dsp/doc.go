// Package dsp has what the analyses of sound share: halving of rates, frames, windows, Fourier transforms and banks of
// filters. Samples are shares of full scale, rates are in Hz.
//
// RFFT is the discrete Fourier transform of real samples, whose length is a power of two. It is Stockham's self-sorting
// form of the algorithm of Cooley and Tukey, radix 4, on half as many complex numbers as there are samples (Cooley and
// Tukey, "An algorithm for the machine calculation of complex Fourier series", 1965; Cochran et al., "What is the fast
// Fourier transform?", 1967, tells Stockham's; Sorensen et al., "Real-valued fast Fourier transform algorithms", 1987,
// the packing of real samples).
package dsp
