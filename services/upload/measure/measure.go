package upload

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/audio/loudness"
)

// findings are what the taps of one decode found.
type findings struct {
	pcm      string
	loudness loudness.Result
	items    []uint32
}

// tap listens to the PCM of a decode (s16le, 44.1 kHz, stereo) while the renditions are
// encoded from it. A slow one holds the decode up.
type tap interface {
	io.Writer
	// finish is called once, after the last sample, or with a nil f when the decode failed.
	finish(f *findings) error
}

type tapMaker func(ctx context.Context) tap

// pcmTaps is the list of what is measured in the one decode. Sound analysis and
// embedding are further entries here: a tap each, and a field in findings.
func (s *Service) pcmTaps() []tapMaker {
	taps := []tapMaker{
		func(context.Context) tap { return &hashTap{sha256.New()} },
		func(context.Context) tap { return &loudnessTap{loudness.New(ffmpeg.PCMRate)} },
	}
	if s.Fingerprints != nil {
		taps = append(taps, s.fingerprintTap)
	}
	return taps
}

// hashTap tells whether two files are one recording to the sample.
type hashTap struct{ hash.Hash }

func (t *hashTap) finish(f *findings) error {
	if f != nil {
		f.pcm = hex.EncodeToString(t.Sum(nil))
	}
	return nil
}

type loudnessTap struct{ *loudness.Meter }

func (t *loudnessTap) finish(f *findings) error {
	if f != nil {
		f.loudness = t.Result()
	}
	return nil
}

// fingerprintTap feeds fpcalc, which gets PCM only, never the file.
type fingerprintTap struct {
	pipe *io.PipeWriter
	done chan struct{}
	fp   fingerprint.Fingerprint
	err  error
}

func (s *Service) fingerprintTap(ctx context.Context) tap {
	pr, pw := io.Pipe()
	t := &fingerprintTap{pipe: pw, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.fp, t.err = s.Fingerprints.Calculate(ctx, pr)
		_ = pr.Close() // never fails; a writer must not wait for a reader that is gone
	}()
	return t
}

func (t *fingerprintTap) Write(p []byte) (int, error) {
	_, _ = t.pipe.Write(p) // when fpcalc has failed, finish tells
	return len(p), nil
}

var errAborted = errors.New("decode has failed")

func (t *fingerprintTap) finish(f *findings) error {
	if f == nil {
		_ = t.pipe.CloseWithError(errAborted) // never fails
	} else {
		_ = t.pipe.Close() // never fails
	}
	<-t.done
	if f == nil || errors.Is(t.err, fingerprint.ErrTooShort) {
		return nil
	}
	f.items = t.fp
	return t.err
}

// fan writes to all taps and counts the progress.
type fan struct {
	taps   []tap
	frames uint64
	total  uint64 // expected; 0 is unknown
	last   uint32
	tell   func(milli uint32)
}

func (f *fan) Write(p []byte) (int, error) {
	for _, t := range f.taps {
		if _, err := t.Write(p); err != nil {
			return 0, err
		}
	}
	f.frames += uint64(len(p) / 4)
	if f.total > 0 {
		// In steps of a hundredth: whoever watches is not to be flooded.
		if now := uint32(min(f.frames, f.total)*100/f.total) * 10; now != f.last {
			f.last = now
			f.tell(now)
		}
	}
	return len(p), nil
}

func (f *fan) finish(found *findings) error {
	var errs error
	for _, t := range f.taps {
		errs = errors.Join(errs, t.finish(found))
	}
	return errs
}

// frames is how many PCM frames a duration has.
func frames(d time.Duration) uint64 {
	return uint64(max(d, 0).Seconds() * ffmpeg.PCMRate)
}

const (
	sketchTerms = 64
	sketchShare = 4 // terms in common that make a candidate
	maxSimilar  = 10
)

// sketch picks the terms that a fingerprint is found by: of the set of its items, without
// their lowest bits, those with the smallest hashes (min-wise hashing, Broder 1997). Two
// prints of one recording share many of them, wherever each begins.
func sketch(items []uint32) []uint32 {
	type scored struct{ hash, term uint32 }
	var all []scored
	for _, it := range items {
		term := it >> 4
		all = append(all, scored{term * 2654435761 >> 1, term})
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.term, b.term))
	})
	all = slices.Compact(all)
	var out []uint32
	for _, a := range all[:min(len(all), sketchTerms)] {
		out = append(out, a.term)
	}
	return out
}
