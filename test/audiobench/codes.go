package main

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/segue-music/segue/audio/fingerprint"
)

// tally counts where two fingerprints of the same sound differ.
type tally struct{ tracks, items, others, bits, lengths int }

func (t *tally) add(a, b fingerprint.Fingerprint) {
	t.tracks++
	if len(a) != len(b) {
		t.lengths++
	}
	for i := range min(len(a), len(b)) {
		t.items++
		if d := a[i] ^ b[i]; d != 0 {
			t.others++
			t.bits += bits.OnesCount32(d)
		}
	}
}

func (t *tally) row(name string) {
	fmt.Printf("| %s | %d | %d | %d | %d (%.3f %%) | %.6f |\n", name, t.tracks, t.items, t.lengths, t.others,
		100*float64(t.others)/float64(t.items), float64(t.bits)/float64(32*t.items))
}

// codes compares items one by one with those of fpcalc.
func codes(ctx context.Context, _ *options, files []string) error {
	var same, pipe, whole tally
	rows := make([]func(), len(files))
	err := each(len(files), func(i int) error {
		mono, err := ffmpeg(ctx, nil, join([]string{"-i", files[i]}, toMono)...)
		if err != nil {
			return err
		}
		ours := fingerprint.Compute(samples(mono))
		theirs, _, err := fpcalc(ctx, mono, "-format", "s16le", "-rate", "11025", "-channels", "1", "-")
		if err != nil {
			return err
		}
		cd, err := ffmpeg(ctx, nil, join([]string{"-i", files[i]}, toCD)...)
		if err != nil {
			return err
		}
		fromPipe, _, err := fpcalc(ctx, cd, "-format", "s16le", "-rate", "44100", "-channels", "2", "-")
		if err != nil {
			return err
		}
		fromFile, _, err := fpcalc(ctx, nil, files[i])
		rows[i] = func() {
			same.add(ours, theirs)
			pipe.add(ours, fromPipe)
			whole.add(ours, fromFile)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, add := range rows {
		add()
	}
	fmt.Println("| fpcalc was given | tracks | items | of another length | other items | bit error rate |\n|---|---|---|---|---|---|")
	same.row("the same samples: 11,025 Hz, mono")
	pipe.row("44,100 Hz, stereo, which it resamples itself")
	whole.row("the file, which it decodes itself")
	return nil
}
