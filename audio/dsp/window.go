package dsp

import "math"

// Hann is the periodic Hann window of n points.
func Hann(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(n))
	}
	return w
}

// Kaiser is the Kaiser window with beta at x, from -1 to 1, where 0 is its middle.
func Kaiser(x, beta float64) float64 {
	return bessel0(beta*math.Sqrt(max(1-x*x, 0))) / bessel0(beta)
}

// bessel0 is the modified Bessel function of the first kind, order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-12; k++ {
		term *= x * x / (4 * k * k)
		sum += term
	}
	return sum
}
