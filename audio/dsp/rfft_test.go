package dsp_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/segue-music/segue/audio/dsp"
)

// naive is the definition.
func naive(frame []float64) (re, im []float64) {
	n := len(frame)
	for k := range n/2 + 1 {
		var a, b float64
		for i, v := range frame {
			sin, cos := math.Sincos(2 * math.Pi * float64(k*i%n) / float64(n))
			a += v * cos
			b -= v * sin
		}
		re, im = append(re, a), append(im, b)
	}
	return re, im
}

func TestRFFT(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for size := 4; size <= 4096; size *= 2 {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			f, err := dsp.NewRFFT(size)
			if err != nil || f.Size() != size || f.Bins() != size/2+1 {
				t.Fatalf("%v, size %d, %d bins", err, f.Size(), f.Bins())
			}
			re, im, power := make([]float64, f.Bins()), make([]float64, f.Bins()), make([]float64, f.Bins())
			for range 3 { // a transform is used again
				frame := make([]float64, size)
				for i := range frame {
					frame[i] = random.Float64()*2 - 1
				}
				wantRe, wantIm := naive(frame)
				f.Transform(re, im, frame)
				f.Power(power, frame)
				limit := 1e-13 * float64(size)
				for k := range re {
					if math.Abs(re[k]-wantRe[k]) > limit || math.Abs(im[k]-wantIm[k]) > limit {
						t.Fatalf("bin %d is %v%+vi, want %v%+vi", k, re[k], im[k], wantRe[k], wantIm[k])
					}
					if want := wantRe[k]*wantRe[k] + wantIm[k]*wantIm[k]; math.Abs(power[k]-want) > limit*math.Sqrt(float64(size)) {
						t.Fatalf("power of bin %d is %v, want %v", k, power[k], want)
					}
				}
			}
		})
	}
}

func TestNewRFFT_bad(t *testing.T) {
	for _, size := range []int{-8, 0, 1, 2, 3, 12, 4095, dsp.MaxSize * 2} {
		if _, err := dsp.NewRFFT(size); !errors.Is(err, dsp.ErrSize) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func BenchmarkRFFT(b *testing.B) {
	for _, size := range []int{1024, 2048, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f, err := dsp.NewRFFT(size)
			if err != nil {
				b.Fatal(err)
			}
			frame, power := make([]float64, size), make([]float64, f.Bins())
			for i := range frame {
				frame[i] = float64(i % 97)
			}
			for b.Loop() {
				f.Power(power, frame)
			}
		})
	}
}
