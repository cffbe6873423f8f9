package dsp

import (
	"errors"
	"math"
	"math/bits"
)

// MaxSize bounds the size of a transform.
const MaxSize = 1 << 20

// ErrSize means that a transform cannot have this size.
var ErrSize = errors.New("dsp: size is no power of two from 4 to 1048576")

// RFFT transforms frames of Size real samples. It has buffers of its own: one of them serves one goroutine at a time.
type RFFT struct {
	size int
	// Real and imaginary parts of Size/2 numbers, twice: each pass goes from one pair into the other.
	re, im, re2, im2 []float64
	// cos and sin of 2πk/Size for k < Size/2: roots of the passes and of the unpacking.
	cos, sin []float64
	passes   []pass
}

// pass has the roots of one pass of radix 4, in the order in which they are read.
type pass struct{ roots [][6]float64 }

// NewRFFT makes a transform of size real samples.
func NewRFFT(size int) (*RFFT, error) {
	if size < 4 || size > MaxSize || bits.OnesCount(uint(size)) != 1 {
		return nil, ErrSize
	}
	half := size / 2
	f := &RFFT{
		size: size,
		re:   make([]float64, half), im: make([]float64, half), re2: make([]float64, half), im2: make([]float64, half),
		cos: make([]float64, half), sin: make([]float64, half),
	}
	for k := range half {
		f.sin[k], f.cos[k] = math.Sincos(2 * math.Pi * float64(k) / float64(size))
	}
	for n := half; n >= 4; n /= 4 {
		p := pass{roots: make([][6]float64, n/4)}
		for k := range p.roots {
			for j := 1; j <= 3; j++ {
				sin, cos := math.Sincos(-2 * math.Pi * float64(j*k) / float64(n))
				p.roots[k][2*j-2], p.roots[k][2*j-1] = cos, sin
			}
		}
		f.passes = append(f.passes, p)
	}
	return f, nil
}

// Size is the number of samples of a frame.
func (f *RFFT) Size() int { return f.size }

// Bins is the number of bins of a spectrum, from 0 to half the sample rate: Size/2 + 1.
func (f *RFFT) Bins() int { return f.size/2 + 1 }

// Transform sets re and im, of Bins numbers each, to the unscaled spectrum of frame, which has Size samples:
// X[k] = Σ x[n]·exp(-2πi·kn/Size). It panics where a slice is shorter.
func (f *RFFT) Transform(re, im, frame []float64) {
	f.pack(frame)
	f.run()
	half := f.size / 2
	re, im = re[:half+1], im[:half+1]
	re[0], im[0] = f.re[0]+f.im[0], 0
	re[half], im[half] = f.re[0]-f.im[0], 0
	for k := 1; k <= half/2; k++ {
		re[k], im[k], re[half-k], im[half-k] = f.unpack(k)
	}
}

// Power sets power, of Bins numbers, to the squared magnitudes of the spectrum of frame, which has Size samples.
// It panics where a slice is shorter.
func (f *RFFT) Power(power, frame []float64) {
	f.pack(frame)
	f.run()
	half := f.size / 2
	power = power[:half+1]
	low, high := f.re[0]+f.im[0], f.re[0]-f.im[0]
	power[0], power[half] = low*low, high*high
	for k := 1; k <= half/2; k++ {
		re, im, re2, im2 := f.unpack(k)
		power[k], power[half-k] = re*re+im*im, re2*re2+im2*im2
	}
}

// pack takes even samples for real and odd ones for imaginary parts.
func (f *RFFT) pack(frame []float64) {
	frame = frame[:f.size]
	re, im := f.re, f.im[:len(f.re)]
	for i := range re {
		pair := frame[2*i : 2*i+2 : 2*i+2]
		re[i], im[i] = pair[0], pair[1]
	}
}

// unpack splits bins k and Size/2-k of the packed transform into those of the real one.
func (f *RFFT) unpack(k int) (re, im, re2, im2 float64) {
	m := f.size/2 - k
	a, b, c, d := f.re[k], f.im[k], f.re[m], f.im[m]
	evenRe, evenIm := (a+c)/2, (b-d)/2
	oddRe, oddIm := (b+d)/2, (c-a)/2
	cos, sin := f.cos[k], f.sin[k]
	turnedRe, turnedIm := oddRe*cos+oddIm*sin, oddIm*cos-oddRe*sin
	return evenRe + turnedRe, evenIm + turnedIm, evenRe - turnedRe, turnedIm - evenIm
}

// run transforms re and im, Size/2 complex numbers, in place.
func (f *RFFT) run() {
	stride := 1
	for _, p := range f.passes {
		if stride == 1 {
			f.first(p.roots)
		} else {
			f.pass(p.roots, stride)
		}
		f.re, f.re2, f.im, f.im2 = f.re2, f.re, f.im2, f.im
		stride *= 4
	}
	if stride < len(f.re) { // what is left is one pass of radix 2, whose roots are 1
		n := len(f.re) / 2
		re, re1, im, im1 := f.re[:n], f.re[n:][:n], f.im[:n], f.im[n:][:n]
		for i := range re {
			re[i], re1[i] = re[i]+re1[i], re[i]-re1[i]
			im[i], im1[i] = im[i]+im1[i], im[i]-im1[i]
		}
	}
}

// first is the pass whose stride is 1.
func (f *RFFT) first(roots [][6]float64) {
	m := len(roots)
	aRe, bRe, cRe, dRe := f.re[:m], f.re[m:][:m], f.re[2*m:][:m], f.re[3*m:][:m]
	aIm, bIm, cIm, dIm := f.im[:m], f.im[m:][:m], f.im[2*m:][:m], f.im[3*m:][:m]
	for p := range roots {
		w := &roots[p]
		toRe, toIm := (*[4]float64)(f.re2[4*p:]), (*[4]float64)(f.im2[4*p:])
		sumRe, sumIm, difRe, difIm := aRe[p]+cRe[p], aIm[p]+cIm[p], aRe[p]-cRe[p], aIm[p]-cIm[p]
		sum2Re, sum2Im, dif2Re, dif2Im := bRe[p]+dRe[p], bIm[p]+dIm[p], bRe[p]-dRe[p], bIm[p]-dIm[p]
		toRe[0], toIm[0] = sumRe+sum2Re, sumIm+sum2Im
		re, im := difRe+dif2Im, difIm-dif2Re
		toRe[1], toIm[1] = re*w[0]-im*w[1], re*w[1]+im*w[0]
		re, im = sumRe-sum2Re, sumIm-sum2Im
		toRe[2], toIm[2] = re*w[2]-im*w[3], re*w[3]+im*w[2]
		re, im = difRe-dif2Im, difIm+dif2Re
		toRe[3], toIm[3] = re*w[4]-im*w[5], re*w[5]+im*w[4]
	}
}

// pass is one of a greater stride.
func (f *RFFT) pass(roots [][6]float64, s int) {
	m := len(roots)
	for p := range roots {
		w0, w1, w2, w3, w4, w5 := roots[p][0], roots[p][1], roots[p][2], roots[p][3], roots[p][4], roots[p][5]
		aRe, bRe, cRe, dRe := f.re[s*p:][:s], f.re[s*(p+m):][:s], f.re[s*(p+2*m):][:s], f.re[s*(p+3*m):][:s]
		aIm, bIm, cIm, dIm := f.im[s*p:][:s], f.im[s*(p+m):][:s], f.im[s*(p+2*m):][:s], f.im[s*(p+3*m):][:s]
		toRe, toRe1, toRe2, toRe3 := f.re2[4*s*p:][:s], f.re2[s*(4*p+1):][:s], f.re2[s*(4*p+2):][:s], f.re2[s*(4*p+3):][:s]
		toIm, toIm1, toIm2, toIm3 := f.im2[4*s*p:][:s], f.im2[s*(4*p+1):][:s], f.im2[s*(4*p+2):][:s], f.im2[s*(4*p+3):][:s]
		for q := range s {
			sumRe, sumIm, difRe, difIm := aRe[q]+cRe[q], aIm[q]+cIm[q], aRe[q]-cRe[q], aIm[q]-cIm[q]
			sum2Re, sum2Im, dif2Re, dif2Im := bRe[q]+dRe[q], bIm[q]+dIm[q], bRe[q]-dRe[q], bIm[q]-dIm[q]
			toRe[q], toIm[q] = sumRe+sum2Re, sumIm+sum2Im
			re, im := difRe+dif2Im, difIm-dif2Re
			toRe1[q], toIm1[q] = re*w0-im*w1, re*w1+im*w0
			re, im = sumRe-sum2Re, sumIm-sum2Im
			toRe2[q], toIm2[q] = re*w2-im*w3, re*w3+im*w2
			re, im = difRe-dif2Im, difIm+dif2Re
			toRe3[q], toIm3[q] = re*w4-im*w5, re*w5+im*w4
		}
	}
}
