// Package measure is what listens to the one decode of a file, while the renditions are
// encoded from the same PCM: its hash, its loudness, its fingerprint.
package measure

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/segue-music/segue/audio/analysis"
	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/audio/loudness"
)

// Findings are what the taps of one decode found.
type Findings struct {
	// PCM is the SHA-256 of the samples, hex.
	PCM      string
	Loudness loudness.Result
	Analysis analysis.Result
	// Print is nil where there is no fpcalc or too little sound.
	Print fingerprint.Fingerprint
}

// Tap listens to the PCM of a decode (s16le, 44.1 kHz, stereo). A slow one holds the
// decode up.
type Tap interface {
	io.Writer
	// Finish is called once, after the last sample, or with a nil f when the decode failed.
	Finish(f *Findings) error
}

// Maker starts a tap for one decode.
type Maker func(ctx context.Context) Tap

// Makers is the list of what is measured. An embedding is a further entry here: a tap, and a
// field in Findings. Without prints nothing is fingerprinted.
func Makers(prints *fingerprint.Calculator) []Maker {
	makers := []Maker{
		func(context.Context) Tap { return &hashTap{sha256.New()} },
		func(context.Context) Tap { return &loudnessTap{loudness.New(ffmpeg.PCMRate)} },
		func(context.Context) Tap { return &analysisTap{analysis.New()} },
	}
	if prints != nil {
		makers = append(makers, func(ctx context.Context) Tap { return newPrintTap(ctx, prints) })
	}
	return makers
}

// hashTap tells whether two files are one recording to the sample.
type hashTap struct{ hash.Hash }

func (t *hashTap) Finish(f *Findings) error {
	if f != nil {
		f.PCM = hex.EncodeToString(t.Sum(nil))
	}
	return nil
}

type loudnessTap struct{ *loudness.Meter }

func (t *loudnessTap) Finish(f *Findings) error {
	if f != nil {
		f.Loudness = t.Result()
	}
	return nil
}

type analysisTap struct{ *analysis.Analyser }

func (t *analysisTap) Finish(f *Findings) error {
	if f != nil {
		f.Analysis = t.Result()
	}
	return nil
}

// printTap feeds fpcalc, which gets PCM only, never the file.
type printTap struct {
	pipe *io.PipeWriter
	done chan struct{}
	fp   fingerprint.Fingerprint
	err  error
}

func newPrintTap(ctx context.Context, prints *fingerprint.Calculator) *printTap {
	pr, pw := io.Pipe()
	t := &printTap{pipe: pw, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.fp, t.err = prints.Calculate(ctx, pr)
		_ = pr.Close() // never fails; a writer must not wait for a reader that is gone
	}()
	return t
}

func (t *printTap) Write(p []byte) (int, error) {
	_, _ = t.pipe.Write(p) // when fpcalc has failed, Finish tells
	return len(p), nil
}

var errAborted = errors.New("decode has failed")

func (t *printTap) Finish(f *Findings) error {
	if f == nil {
		_ = t.pipe.CloseWithError(errAborted) // never fails
	} else {
		_ = t.pipe.Close() // never fails
	}
	<-t.done
	if f == nil || errors.Is(t.err, fingerprint.ErrTooShort) {
		return nil
	}
	f.Print = t.fp
	return t.err
}

// Fan writes to all taps and tells the progress.
type Fan struct {
	Taps []Tap
	// Expect is the length that is expected, 0 when it is not known; Tell is then called
	// with thousandths of it.
	Expect time.Duration
	Tell   func(milli uint32)

	frames uint64
	last   uint32
}

// Write takes whole frames.
func (f *Fan) Write(p []byte) (int, error) {
	for _, t := range f.Taps {
		if _, err := t.Write(p); err != nil {
			return 0, err
		}
	}
	f.frames += uint64(len(p) / (2 * ffmpeg.PCMChannels))
	if total := uint64(max(f.Expect, 0).Seconds() * ffmpeg.PCMRate); total > 0 {
		// In steps of a hundredth: whoever watches is not to be flooded.
		if now := uint32(min(f.frames, total)*100/total) * 10; now != f.last {
			f.last = now
			f.Tell(now)
		}
	}
	return len(p), nil
}

// Finish finishes all taps.
func (f *Fan) Finish(found *Findings) error {
	var errs error
	for _, t := range f.Taps {
		errs = errors.Join(errs, t.Finish(found))
	}
	return errs
}
