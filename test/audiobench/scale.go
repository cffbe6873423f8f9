package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/audio/fingerprint/index"
)

// scale fills an index with made tracks and asks it for some of them.
func scale(ctx context.Context, o *options, files []string) error {
	real := make([]fingerprint.Fingerprint, len(files))
	err := each(len(files), func(i int) error {
		mono, err := ffmpeg(ctx, nil, join([]string{"-i", files[i]}, toMono)...)
		real[i] = fingerprint.Compute(samples(mono))
		return err
	})
	if err != nil {
		return err
	}
	real = slices.DeleteFunc(real, func(fp fingerprint.Fingerprint) bool { return len(fp) < 200 })
	made := make([]fingerprint.Fingerprint, 10*len(real))
	for n := range made {
		made[n] = track(real, n, 1000)
	}
	same, collide := crowding(real)
	same2, collide2 := crowding(made)
	fmt.Printf("Items of %d real tracks: %.1f %% equal the one before; two of unlike tracks are the same in 1 of %.3g cases. "+
		"Of made tracks, %.1f %% and 1 of %.3g.\n\n", len(real), 100*same, 1/collide, 100*same2, 1/collide2)
	fmt.Println("| index | tracks | items each | built, tracks/s | segments | bytes/track: postings | of these, an entry | items for verifying | query p50, µs | p99, µs | greatest | found | others found, of a common source | of none | memory |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, kind := range []struct {
		name           string
		config         index.Config
		items, queried int
		merge          bool
	}{
		{"duplicates", index.Duplicates(), itemsOf(o.seconds), itemsOf(o.seconds), true},
		{"clips of 10 s", index.Clips(), itemsOf(o.seconds), clipItems, false},
	} {
		if o.only != "" && o.only != strings.Fields(kind.name)[0] {
			continue
		}
		if err := build(ctx, o, real, kind.name, kind.config, kind.items, kind.queried, kind.merge); err != nil {
			return err
		}
	}
	return nil
}

// itemsOf is how many items so many seconds of sound have.
func itemsOf(seconds int) int {
	return (seconds*fingerprint.SampleRate-4096)/fingerprint.SamplesPerItem + 2 - fingerprint.ItemFrames
}

// track makes track n again and again the same.
func track(real []fingerprint.Fingerprint, n, items int) fingerprint.Fingerprint {
	out := make(fingerprint.Fingerprint, items)
	random := rand.NewPCG(uint64(n), 5)
	one, other := sources(len(real), n, random)
	tune(out, [2]fingerprint.Fingerprint{real[one], real[other]}, random)
	return out
}

// sources are the real tracks that track n has its halves from: of every second one the same.
func sources(real, n int, random *rand.PCG) (one, other int) {
	one = int(random.Uint64() % uint64(real))
	if n%2 == 0 {
		return one, one
	}
	return one, int(random.Uint64() % uint64(real))
}

// related tells whether two made tracks have a half from the same real one: then they may have the same pieces one behind the
// other, and sound alike indeed.
func related(real, a, b int) bool {
	one, other := sources(real, a, rand.NewPCG(uint64(a), 5))
	one2, other2 := sources(real, b, rand.NewPCG(uint64(b), 5))
	return one == one2 || other == other2
}

// allTracks makes tracks as fast as two cores can, in order.
func allTracks(ctx context.Context, real []fingerprint.Fingerprint, n, items int) iter.Seq2[index.ID, fingerprint.Fingerprint] {
	return func(yield func(index.ID, fingerprint.Fingerprint) bool) {
		const batch = 1000
		for from := 0; from < n && ctx.Err() == nil; from += batch {
			tracks := make([]fingerprint.Fingerprint, min(batch, n-from))
			_ = each(len(tracks), func(i int) error { tracks[i] = track(real, from+i, items); return nil }) // none fails
			for i, fp := range tracks {
				if !yield(trackID(from+i), fp) {
					return
				}
			}
		}
	}
}

func build(ctx context.Context, o *options, real []fingerprint.Fingerprint, name string, c index.Config, items, queried int, merge bool) (err error) {
	dir, err := os.MkdirTemp(o.dir, "audiobench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	x, err := index.Open(filepath.Join(dir, "index"), c)
	if err != nil {
		return err
	}
	defer x.Close()
	start := time.Now()
	if err := x.Load(allTracks(ctx, real, o.scale, items)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	built := time.Since(start)
	note("%s: built in %v, %+v", name, built, x.Stats())
	if merge {
		start := time.Now()
		if err := x.Merge(); err != nil {
			return err
		}
		note("merged in %v", time.Since(start))
	}
	random := rand.New(rand.NewPCG(7, 8)) //nolint:gosec // the same again in each run
	var times []float64
	found, wrong, alike := 0, 0, 0
	for q := range o.queries {
		n := random.IntN(o.scale)
		if q%2 == 1 {
			n += o.scale // is not there
		}
		fp := track(real, n, items)
		from := random.IntN(items - queried + 1)
		fp = worsen(fp[from:from+queried], random)
		start := time.Now()
		matches, err := x.Query(fp)
		times = append(times, float64(time.Since(start).Nanoseconds())/1e3)
		if err != nil {
			return err
		}
		for _, m := range matches {
			switch other := int(binary.BigEndian.Uint64(m.ID[:])); {
			case other == n && m.Offset == from:
				found++
			case other == n, related(len(real), other, n):
				alike++
			default:
				wrong++
			}
		}
	}
	slices.Sort(times)
	s := x.Stats()
	tracks := float64(s.Tracks)
	fmt.Printf("| %s | %d | %d | %.0f | %d | %.0f | %.2f | %.0f | %.0f | %.0f | %.0f | %d of %d | %d | %d | %d MiB |\n", name, s.Tracks, items,
		tracks/built.Seconds(), s.Segments, float64(s.Bytes-s.ItemBytes)/tracks, float64(s.Bytes-s.ItemBytes)/float64(s.Postings),
		float64(s.ItemBytes)/tracks, times[len(times)/2], times[len(times)*99/100], times[len(times)-1], found, (o.queries+1)/2, alike,
		wrong, resident())
	return nil
}

// resident is what this process had in memory at most, in MiB.
func resident() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return kb >> 10
		}
	}
	return 0
}
