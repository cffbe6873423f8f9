package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"

	"github.com/segue-music/segue/audio/fingerprint"
)

// speed tells how many seconds of sound a second of one CPU takes.
func speed(ctx context.Context, o *options, files []string) error {
	var cd, mono []byte
	for _, file := range files {
		more, err := ffmpeg(ctx, nil, join([]string{"-i", file}, toCD)...)
		if err != nil {
			return err
		}
		if cd = append(cd, more...); len(cd) > 600*44100*4 {
			break
		}
	}
	mono, err := ffmpeg(ctx, cd, join(fromCD, toMono)...)
	if err != nil {
		return err
	}
	seconds := float64(len(mono)) / 2 / fingerprint.SampleRate
	s := samples(mono)
	contenders := []struct {
		name string
		run  func() (float64, error)
	}{
		{"`fingerprint.Compute`, 11,025 Hz mono", func() (float64, error) {
			before := cpu()
			fingerprint.Compute(s)
			return cpu() - before, nil
		}},
		{"`fpcalc`, 11,025 Hz mono", func() (float64, error) {
			_, used, err := fpcalc(ctx, mono, "-format", "s16le", "-rate", "11025", "-channels", "1", "-")
			return used, err
		}},
		{"`fpcalc`, 44,100 Hz stereo, which it resamples", func() (float64, error) {
			_, used, err := fpcalc(ctx, cd, "-format", "s16le", "-rate", "44100", "-channels", "2", "-")
			return used, err
		}},
	}
	times := make([][]float64, len(contenders))
	for range o.rounds {
		for i, c := range contenders {
			used, err := c.run()
			if err != nil {
				return err
			}
			times[i] = append(times[i], seconds/used)
		}
	}
	fmt.Printf("%.0f s of sound, %d rounds in turns.\n\n| | times real time on one CPU, median | least | most |\n|---|---|---|---|\n", seconds, o.rounds)
	for i, c := range contenders {
		slices.Sort(times[i])
		fmt.Printf("| %s | %.0f | %.0f | %.0f |\n", c.name, times[i][len(times[i])/2], times[i][0], times[i][len(times[i])-1])
	}
	return nil
}

// cpu is what this process has used, in seconds.
func cpu() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
