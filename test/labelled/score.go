package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/segue-music/segue/audio/analysis/tonal"
)

// near is whether a tempo is within the 4 % that MIREX allows.
func near(bpm, truth float64) bool { return math.Abs(bpm/truth-1) <= 0.04 }

// accuracy1 and accuracy2 are Gouyon's ("An experimental comparison of audio tempo
// induction algorithms", 2006): the second takes half, double, a third and triple too.
func accuracy1(bpm, truth float64) bool { return bpm > 0 && near(bpm, truth) }

func accuracy2(bpm, truth float64) bool {
	return bpm > 0 && (near(bpm, truth) || near(bpm, truth*2) || near(bpm, truth/2) || near(bpm, truth*3) || near(bpm, truth/3))
}

// mirex is the weighted score of MIREX's key detection.
func mirex(found, truth tonal.Key) float64 {
	up := (found.Tonic - truth.Tonic + 12) % 12
	switch {
	case found == truth:
		return 1
	case found.Minor == truth.Minor && up == 7:
		return 0.5
	case !truth.Minor && found.Minor && up == 9, truth.Minor && !found.Minor && up == 3:
		return 0.3
	case found.Minor != truth.Minor && up == 0:
		return 0.2
	}
	return 0
}

type sums struct{ n, acc1, acc2, oracle, keys, exact, mirex float64 }

func (s *sums) add(p *piece) {
	s.n++
	if accuracy1(p.found.Beat.Tempo.BPM, p.bpm) {
		s.acc1++
	}
	if accuracy2(p.found.Beat.Tempo.BPM, p.bpm) {
		s.acc2++
	}
	for _, c := range p.tempi {
		if near(c.BPM, p.bpm) {
			s.oracle++
			break
		}
	}
	if p.key == nil {
		return
	}
	s.keys++
	if len(p.found.Tonal.Keys) == 0 {
		return
	}
	points := mirex(p.found.Tonal.Keys[0].Key, *p.key)
	s.mirex += points
	if points == 1 {
		s.exact++
	}
}

func (s *sums) row(name string) string {
	keys := "| | | |"
	if s.keys > 0 {
		keys = fmt.Sprintf("| %.0f | %.1f | %.1f |", s.keys, 100*s.exact/s.keys, 100*s.mirex/s.keys)
	}
	return fmt.Sprintf("| %s | %.0f | %.1f | %.1f | %.1f %s\n", name, s.n, 100*s.acc1/s.n, 100*s.acc2/s.n, 100*s.oracle/s.n, keys)
}

func score(out io.Writer, pieces []*piece, list bool) error {
	groups := map[string]*sums{}
	var all, clean sums
	for _, p := range pieces {
		if groups[p.group] == nil {
			groups[p.group] = &sums{}
		}
		groups[p.group].add(p)
		all.add(p)
		if p.group != "fiddle" {
			clean.add(p)
		}
		if list {
			key, truth := "", ""
			if p.key != nil && len(p.found.Tonal.Keys) > 0 {
				key, truth = p.found.Tonal.Keys[0].Key.String(), p.key.String()
			}
			b := p.found.Beat
			fmt.Fprintf(out, "%-28s %6.1f (%3.0f %%) of %6.1f, %-9s of %-9s metre %d (%.2f) oracle %v\n",
				p.name, b.Tempo.BPM, 100*b.Tempo.Probability, p.bpm, key, truth, b.Metre, b.MetreConfidence, accuracy2(b.Tempo.BPM, p.bpm))
		}
	}
	fmt.Fprintf(out, "| group | pieces | Acc1 %% | Acc2 %% | among the candidates %% | with a key | exact %% | MIREX |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		fmt.Fprint(out, groups[name].row(name))
	}
	_, err := fmt.Fprint(out, clean.row("all but fiddle"), all.row("all"))
	return err
}
