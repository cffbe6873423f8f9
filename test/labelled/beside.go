package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/segue-music/segue/audio/analysis/tonal"
)

// told is what a program told of all pieces but those of the fiddle, whose key leaks.
type told struct{ tempi, acc1, acc2, keys, exact, mirex, seconds, cpu float64 }

// beside prints what others tell of the same pieces, from the CSV of peers.py.
func beside(out io.Writer, pieces []*piece, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	rows, err := csv.NewReader(f).ReadAll()
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	byFile := map[string]*piece{}
	segue := &told{}
	for _, p := range pieces {
		if p.group == "fiddle" {
			continue
		}
		byFile[p.file] = p
		segue.tempo(p, p.found.Beat.Tempo.BPM)
		if keys := p.found.Tonal.Keys; p.key != nil && len(keys) > 0 {
			segue.key(p, keys[0].Key)
		}
		segue.seconds += p.seconds
		segue.cpu += p.cpuAnalysis
	}
	all := map[string]*told{}
	for _, row := range rows {
		p := byFile[filepath.Join(row[1], row[2]+".wav")]
		if p == nil {
			continue
		}
		t := all[row[0]]
		if t == nil {
			t = &told{}
			all[row[0]] = t
		}
		if row[3] != "" {
			bpm, err := strconv.ParseFloat(row[3], 64)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", row[0], row[2], err)
			}
			t.tempo(p, bpm)
		}
		if key, ok := tonal.ParseKey(row[4] + " " + row[5]); ok && p.key != nil {
			t.key(p, key)
		}
		cpu, err := strconv.ParseFloat(row[6], 64)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", row[0], row[2], err)
		}
		t.seconds += p.seconds
		t.cpu += cpu
	}
	fmt.Fprintf(out, "\n| all but fiddle | pieces | Acc1 %% | Acc2 %% | with a key | exact %% | MIREX | times real time per core |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	fmt.Fprint(out, segue.row("Segue: all of the analysis at once"))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprint(out, all[name].row(name))
	}
	return nil
}

func (t *told) tempo(p *piece, bpm float64) {
	t.tempi++
	if accuracy1(bpm, p.bpm) {
		t.acc1++
	}
	if accuracy2(bpm, p.bpm) {
		t.acc2++
	}
}

func (t *told) key(p *piece, k tonal.Key) {
	points := mirex(k, *p.key)
	t.keys++
	t.mirex += points
	if points == 1 {
		t.exact++
	}
}

func (t *told) row(name string) string {
	tempo, key := "| | | ", "| | | "
	if t.tempi > 0 {
		tempo = fmt.Sprintf("| %.0f | %.1f | %.1f ", t.tempi, 100*t.acc1/t.tempi, 100*t.acc2/t.tempi)
	}
	if t.keys > 0 {
		key = fmt.Sprintf("| %.0f | %.1f | %.1f ", t.keys, 100*t.exact/t.keys, 100*t.mirex/t.keys)
	}
	return fmt.Sprintf("| %s %s%s| %.0f |\n", name, tempo, key, t.seconds/t.cpu)
}
