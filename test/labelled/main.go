// Command labelled measures how well tempo and key are told, on folders of pieces whose
// tempo and key are known, and fits the models that decide.
//
//	labelled score DIR…   tells accuracy by group, of all folders together
//	labelled fit DIR…     prints weights; only pieces of the groups of -groups are used
//	labelled like DIR…    tells whether near tracks are of one artist or album; any music
//	labelled usual DIR…   prints what each place of an embedding is over music
//	labelled list DIR…    tells what is found of each track of any music
//
// A folder has labels.csv (name, group, bpm, key, mode; key may be empty) and NAME.wav.
package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/segue-music/segue/audio/analysis"
	"github.com/segue-music/segue/audio/analysis/beat"
	"github.com/segue-music/segue/audio/analysis/tonal"
	"github.com/segue-music/segue/audio/loudness"
)

func main() {
	if err := command(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "labelled:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("usage: labelled score|fit|like|usual|list [FLAGS] DIR…")
	}
	fs := flag.NewFlagSet("labelled", flag.ContinueOnError)
	groups := fs.String("groups", "", "comma-separated groups, empty for all")
	list := fs.Bool("list", false, "score: tell each piece")
	peers := fs.String("peers", "", "score: what peers.py printed of the same folders")
	test := fs.String("test", "", "fit: comma-separated folders of pieces to try the weights on")
	tempoPenalty := fs.Float64("tempo-penalty", 0.003, "fit: what the square of a weight costs")
	keyPenalty := fs.Float64("key-penalty", 0.01, "fit: what the square of a weight costs")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if slices.Contains([]string{"like", "usual", "list"}, args[0]) {
		all, err := songs(ctx, fs.Args())
		if err != nil {
			return err
		}
		return map[string]func(io.Writer, []*song) error{"like": like, "usual": usual, "list": show}[args[0]](out, all)
	}
	pieces, err := read(fs.Args(), *groups)
	if err != nil {
		return err
	}
	if err := listen(ctx, pieces); err != nil {
		return err
	}
	switch args[0] {
	case "score":
		if err := score(out, pieces, *list); err != nil || *peers == "" {
			return err
		}
		return beside(out, pieces, *peers)
	case "fit":
		var held []*piece
		if *test != "" {
			if held, err = read(strings.Split(*test, ","), ""); err == nil {
				err = listen(ctx, held)
			}
			if err != nil {
				return err
			}
		}
		return fit(out, pieces, held, *tempoPenalty, *keyPenalty)
	}
	return fmt.Errorf("%q is none of score, fit, like, usual, list", args[0])
}

// piece is one whose truth is known, and what was found.
type piece struct {
	name, group, file string
	bpm               float64
	key               *tonal.Key

	seconds, cpuLoudness, cpuAnalysis float64

	found analysis.Result
	tempi []beat.Candidate
	keys  []tonal.Candidate
}

func read(dirs []string, groups string) ([]*piece, error) {
	var out []*piece
	for _, dir := range dirs {
		f, err := os.Open(filepath.Join(dir, "labels.csv"))
		if err != nil {
			return nil, err
		}
		rows, err := csv.NewReader(f).ReadAll()
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		for _, row := range rows[1:] {
			if groups != "" && !slices.Contains(strings.Split(groups, ","), row[1]) {
				continue
			}
			p := &piece{name: row[0], group: row[1], file: filepath.Join(dir, row[0]+".wav")}
			if p.bpm, err = strconv.ParseFloat(row[2], 64); err != nil {
				return nil, fmt.Errorf("%s: %w", row[0], err)
			}
			if key, ok := tonal.ParseKey(row[3] + " " + row[4]); ok {
				p.key = &key
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// listen analyses all pieces, two at a time.
func listen(ctx context.Context, pieces []*piece) error {
	var all sync.WaitGroup
	places := make(chan struct{}, 2)
	errs := make([]error, len(pieces))
	for i, p := range pieces {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			errs[i] = p.listen(ctx)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (p *piece) listen(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-nostdin", "-i", p.file, "-f", "s16le", "-ar", "44100", "-ac", "2", "-")
	cmd.Stderr = os.Stderr
	pcm, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("decode %s: %w", p.file, err)
	}
	p.seconds = float64(len(pcm)) / 4 / analysis.Rate
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadCPU()
	m := loudness.New(analysis.Rate)
	_, _ = m.Write(pcm)
	_ = m.Result()
	heard := threadCPU()
	a := analysis.New()
	_, _ = a.Write(pcm)
	p.found = a.Result()
	p.cpuLoudness, p.cpuAnalysis = heard-began, threadCPU()-heard
	p.tempi, p.keys = a.Tempi(), a.Keys()
	return nil
}

// threadCPU is the processor time of this thread in seconds.
func threadCPU() float64 {
	var u syscall.Rusage
	const rusageThread = 1 // of Linux
	if err := syscall.Getrusage(rusageThread, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
