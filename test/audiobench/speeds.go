package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/audio/fingerprint/index"
)

// changes are of no round number, so that none lies on a step that is tried.
var changes = []struct{ name, filter string }{
	{"1.1 % faster, higher too", "asetrate=44585"},
	{"1.8 % faster, higher too", "asetrate=44894"},
	{"2.8 % faster, higher too", "asetrate=45335"},
	{"1.2 % slower, lower too", "asetrate=43571"},
	{"2.3 % slower, lower too", "asetrate=43086"},
	{"1.3 % faster, same pitch", "atempo=1.013"},
	{"2.7 % faster, same pitch", "atempo=1.027"},
	{"1.8 % slower, same pitch", "atempo=0.982"},
	{"3 % faster, same pitch", "atempo=1.03"},
}

// changedLength is how much of a copy is looked at, and from where on, in seconds.
const (
	changedFrom   = 20
	changedLength = 30
)

// speeds asks an index of whole tracks for 30 s of changed copies: as they are, and with changes undone.
func speeds(ctx context.Context, _ *options, files []string) error {
	c := index.Clips()
	x, err := index.NewMemory(c)
	if err != nil {
		return err
	}
	begins := make([][]byte, len(files))
	err = each(len(files), func(i int) error {
		cd, err := ffmpeg(ctx, nil, join([]string{"-i", files[i]}, toCD)...)
		if err != nil {
			return err
		}
		mono, err := ffmpeg(ctx, cd, join(fromCD, toMono)...)
		if err != nil {
			return err
		}
		if from := changedFrom * 44100 * 4; len(cd) > from+(changedLength+5)*44100*4 {
			begins[i] = slices.Clone(cd[from:][:(changedLength+5)*44100*4]) // the rest goes
			return x.Insert(trackID(i), fingerprint.Compute(samples(mono)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	type result struct{ asked, plain, tried, wrong int }
	results := make([][]result, len(files))
	err = each(len(files), func(i int) error {
		results[i] = make([]result, len(changes))
		for k, change := range changes {
			if begins[i] == nil {
				continue
			}
			pcm, err := filtered(change.filter)(ctx, begins[i])
			if err != nil {
				return err
			}
			s := samples(pcm)
			s = s[:min(len(s), changedLength*fingerprint.SampleRate)]
			r := &results[i][k]
			r.asked = 1
			found, err := x.Query(fingerprint.Compute(s))
			if err != nil {
				return err
			}
			if slices.ContainsFunc(found, func(m index.Match) bool { return m.ID == trackID(i) }) {
				r.plain = 1
			}
			all := map[int]bool{}
			for _, m := range found {
				all[int(binary.BigEndian.Uint64(m.ID[:]))] = true
			}
			for _, speed := range fingerprint.Speeds(0.03) {
				found, err := x.Query(fingerprint.ComputeAt(s, speed.Tempo, speed.Pitch))
				if err != nil {
					return err
				}
				for _, m := range found {
					all[int(binary.BigEndian.Uint64(m.ID[:]))] = true
				}
			}
			for n := range all {
				if n == i {
					r.tried = 1
				} else {
					r.wrong++
					note("%s of %s: also %s", change.name, name(files[i]), name(files[n]))
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d tracks; %d s of each copy; %d changes tried.\n\n| | asked | found as it is | found by trying | others found |\n|---|---|---|---|---|\n",
		x.Len(), changedLength, len(fingerprint.Speeds(0.03)))
	for k, change := range changes {
		var sum result
		for i := range results {
			r := results[i][k]
			sum = result{sum.asked + r.asked, sum.plain + r.plain, sum.tried + r.tried, sum.wrong + r.wrong}
		}
		fmt.Printf("| %s | %d | %.1f %% | %.1f %% | %d |\n", change.name, sum.asked, 100*float64(sum.plain)/float64(sum.asked),
			100*float64(sum.tried)/float64(sum.asked), sum.wrong)
	}
	return nil
}
