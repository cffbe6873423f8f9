package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/segue-music/segue/audio/analysis/tonal"
)

// choice is one piece as a conditional logit model sees it: alternatives with their
// features, some of which are right (McFadden, "Conditional logit analysis of qualitative
// choice behavior", 1974).
type choice struct {
	features [][]float64
	right    []bool
}

const (
	steps = 4000
	rate  = 0.02
)

// logit fits weights to choices by gradient ascent (Adam), with a penalty on each weight
// in units of its feature's spread.
func logit(choices []choice, penalty float64) []float64 {
	n := len(choices[0].features[0])
	spread := spreads(choices, n)
	w, m, v := make([]float64, n), make([]float64, n), make([]float64, n)
	grad := make([]float64, n)
	for step := 1; step <= steps; step++ {
		for j := range grad {
			grad[j] = -penalty * w[j]
		}
		for _, c := range choices {
			c.ascend(w, spread, grad, 1/float64(len(choices)))
		}
		for j, g := range grad {
			m[j] = 0.9*m[j] + 0.1*g
			v[j] = 0.999*v[j] + 0.001*g*g
			mh, vh := m[j]/(1-math.Pow(0.9, float64(step))), v[j]/(1-math.Pow(0.999, float64(step)))
			w[j] += rate * mh / (math.Sqrt(vh) + 1e-8)
		}
	}
	for j := range w {
		w[j] /= spread[j]
	}
	return w
}

func spreads(choices []choice, n int) []float64 {
	mean, square, count := make([]float64, n), make([]float64, n), 0.0
	for _, c := range choices {
		for _, f := range c.features {
			count++
			for j, x := range f {
				mean[j] += x
				square[j] += x * x
			}
		}
	}
	out := make([]float64, n)
	for j := range out {
		mean[j] /= count
		out[j] = math.Sqrt(max(square[j]/count-mean[j]*mean[j], 1e-9))
	}
	return out
}

// ascend adds the gradient of the log of the probability of the right alternatives.
func (c *choice) ascend(w, spread, grad []float64, share float64) {
	p := make([]float64, len(c.features))
	top := math.Inf(-1)
	for i, f := range c.features {
		for j, x := range f {
			p[i] += w[j] * x / spread[j]
		}
		top = max(top, p[i])
	}
	all, right := 0.0, 0.0
	for i := range p {
		p[i] = math.Exp(p[i] - top)
		all += p[i]
		if c.right[i] {
			right += p[i]
		}
	}
	for i, f := range c.features {
		d := -p[i] / all
		if c.right[i] {
			d += p[i] / right
		}
		for j, x := range f {
			grad[j] += share * d * x / spread[j]
		}
	}
}

// tempoOf and keyOf are a piece's choices. A piece without a right one has none.
func tempoOf(p *piece) (c choice, ok bool) {
	for _, a := range p.tempi {
		right := near(a.BPM, p.bpm)
		ok = ok || right
		c.features, c.right = append(c.features, a.Features), append(c.right, right)
	}
	return c, ok
}

func keyOf(p *piece) (c choice, ok bool) {
	if p.key == nil || p.group == "fiddle" || len(p.keys) == 0 {
		return c, false
	}
	for _, a := range p.keys {
		// Features have weights of their own in each mode.
		f := make([]float64, 2*len(a.Features))
		at := 0
		if a.Key.Minor {
			at = len(a.Features)
		}
		copy(f[at:], a.Features)
		c.features, c.right = append(c.features, f), append(c.right, a.Key == *p.key)
	}
	return c, true
}

// best is the alternative that weights choose.
func (c *choice) best(w []float64) int {
	top, at := math.Inf(-1), 0
	for i, f := range c.features {
		sum := 0.0
		for j, x := range f {
			sum += w[j] * x
		}
		if sum > top {
			top, at = sum, i
		}
	}
	return at
}

// fit prints weights, and how they do on pieces that they were not fitted to.
func fit(out io.Writer, pieces, held []*piece, tempoPenalty, keyPenalty float64) error {
	var tempi, keys []choice
	for _, p := range pieces {
		if c, ok := tempoOf(p); ok {
			tempi = append(tempi, c)
		}
		if c, ok := keyOf(p); ok {
			keys = append(keys, c)
		}
	}
	fmt.Fprintf(out, "// Fitted to the tempo of %d pieces of %d, and to the key of %d.\n", len(tempi), len(pieces), len(keys))
	if len(tempi) == 0 || len(keys) == 0 {
		return errors.New("nothing to fit to")
	}
	ofTempo, ofKey := logit(tempi, tempoPenalty), logit(keys, keyPenalty)
	fmt.Fprintf(out, "var weights = [...]float64{%s}\n", numbers(ofTempo))
	fmt.Fprintf(out, "var majorWeights = [featureCount]float64{%s}\n", numbers(ofKey[:len(ofKey)/2]))
	fmt.Fprintf(out, "var minorWeights = [featureCount]float64{%s}\n", numbers(ofKey[len(ofKey)/2:]))
	for _, p := range held {
		if c, _ := tempoOf(p); len(c.features) > 0 {
			p.found.Beat.Tempo.BPM = p.tempi[c.best(ofTempo)].BPM
		}
		if c, ok := keyOf(p); ok {
			p.found.Tonal.Keys = []tonal.Guess{{Key: p.keys[c.best(ofKey)].Key}}
		}
	}
	if len(held) == 0 {
		return nil
	}
	return score(out, held, false)
}

func numbers(w []float64) string {
	out := make([]string, len(w))
	for i, v := range w {
		out[i] = fmt.Sprintf("%.3f", v)
	}
	return strings.Join(out, ", ")
}
