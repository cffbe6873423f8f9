package ffmpeg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/segue-music/segue/audio/ogg"
)

// PCMRate and PCMChannels describe the PCM of a transcode: interleaved signed 16 bit
// little endian.
const (
	PCMRate     = 44100
	PCMChannels = 2
	frameSize   = 2 * PCMChannels
)

// Output is one rendition and where its Ogg file goes.
type Output struct {
	Rendition Rendition
	W         io.Writer
}

// Job is one decode.
type Job struct {
	// Source is a regular file, open for reading only; its offset is not used. It
	// is opened again inside, where the superuser has no special rights: its mode
	// has to let the calling user read it.
	Source *os.File
	// PCM takes the decoded sound: s16le, 44.1 kHz, stereo. Nil drops it.
	PCM io.Writer
	// Outputs are at most one of each rendition, possibly none.
	Outputs []Output
	// Expect is the length that the source's header claims, or 0. A decode that
	// is clearly shorter is an ErrTruncated.
	Expect time.Duration
}

// Result is what a decode yielded.
type Result struct {
	// Samples is the length in PCM frames, at 44.1 kHz. The renditions at 44.1
	// kHz have exactly as many.
	Samples uint64
	// Totals are the total samples of the outputs, in their order, at the rate of
	// their rendition.
	Totals []uint64
	// Warnings is what the decoder said, cleaned, at most 1000 characters.
	Warnings string
	// CPU is the time that the process took.
	CPU time.Duration
}

// Duration is the length of the decoded sound.
func (r *Result) Duration() time.Duration {
	return time.Duration(r.Samples) * time.Second / PCMRate
}

// Transcode decodes the source once, in one process, into all outputs. The
// writers are used from several goroutines, each writer from one; all of them
// are written at the same pace, so that a slow one holds the others up, and one
// that blocks for ever is not ended by the context.
//
// Errors: ErrNotAudio, ErrTruncated (the result is then set: it says how much
// there was), ErrTooLong, ErrKilled, ErrSandbox, the context's, or a writer's.
func (r *Runner) Transcode(ctx context.Context, job Job) (*Result, error) {
	if err := checkSource(job.Source); err != nil {
		return nil, err
	}
	renditions := make([]Rendition, len(job.Outputs))
	seen := map[Rendition]bool{}
	for i, o := range job.Outputs {
		if o.Rendition.Kbps() == 0 || o.W == nil || seen[o.Rendition] {
			return nil, fmt.Errorf("output %d: unknown, without writer, or twice", i)
		}
		renditions[i], seen[o.Rendition] = o.Rendition, true
	}
	p, err := r.start(ctx, command{
		program: r.cfg.FFmpeg, args: transcodeArgs(renditions), in: job.Source, outputs: len(renditions) + 1,
		cpu: r.cfg.MaxCPU, wall: r.cfg.MaxWall,
	})
	if err != nil {
		return nil, err
	}
	res := &Result{Totals: make([]uint64, len(renditions))}
	faults := make([]error, len(p.outputs))
	var group sync.WaitGroup
	for i, f := range p.outputs {
		group.Go(func() {
			if i == 0 {
				res.Samples, faults[0] = copyPCM(job.PCM, f, r.cfg.MaxDuration)
			} else {
				res.Totals[i-1], faults[i] = copyOgg(job.Outputs[i-1], f, r.cfg.MaxDuration)
			}
			if faults[i] != nil {
				p.cancel()
			}
		})
	}
	group.Wait()
	end := p.wait(ctx)
	res.Warnings, res.CPU = end.stderr, end.cpu
	return r.judge(ctx, job, res, end, faults)
}

// judge turns the ends of the process and of its outputs into one answer.
func (r *Runner) judge(ctx context.Context, job Job, res *Result, end outcome, faults []error) (*Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var damaged error
	for _, err := range faults {
		// A broken Ogg stream follows from a process that ended early; a fault of
		// ours does not.
		if errors.Is(err, ogg.ErrTruncated) || errors.Is(err, ogg.ErrCorrupt) {
			damaged = errors.Join(damaged, err)
		} else if err != nil {
			return nil, err
		}
	}
	var killed *KilledError
	switch {
	case errors.As(end.err, &killed):
		return nil, killed
	case res.Samples == 0:
		return nil, fmt.Errorf("%w: %s", ErrNotAudio, end.stderr)
	case end.err != nil:
		return res, fmt.Errorf("%w after %v: %s", ErrTruncated, res.Duration().Round(time.Millisecond), end.stderr)
	case damaged != nil:
		return nil, fmt.Errorf("read rendition: %w", damaged)
	}
	for i, total := range res.Totals {
		o := job.Outputs[i].Rendition
		want := (res.Samples*uint64(o.Rate()) + PCMRate - 1) / PCMRate
		// Resampling to another rate rounds; at 44.1 kHz every sample counts.
		if total != want && (o.Rate() == PCMRate || total > want+1 || total+1 < want) {
			return nil, fmt.Errorf("%s has %d samples, expected %d", o, total, want)
		}
	}
	// Headers round and estimate; half a second and one in a hundred is more.
	if got := res.Duration(); job.Expect-got > max(job.Expect/100, 500*time.Millisecond) {
		return res, fmt.Errorf("%w: %v of %v: %s", ErrTruncated, got.Round(time.Millisecond), job.Expect.Round(time.Millisecond), end.stderr)
	}
	return res, nil
}

// copyPCM copies whole frames and counts them.
func copyPCM(w io.Writer, r io.Reader, longest time.Duration) (uint64, error) {
	limit := uint64(longest.Seconds() * PCMRate)
	buf := make([]byte, pipeSize)
	frames := uint64(0)
	for {
		n, err := io.ReadFull(r, buf)
		n -= n % frameSize
		if frames += uint64(n / frameSize); frames > limit {
			return frames, fmt.Errorf("%w: over %v", ErrTooLong, longest)
		}
		if w != nil && n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return frames, fmt.Errorf("write PCM: %w", err)
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return frames, nil
		}
		if err != nil {
			return frames, fmt.Errorf("read PCM: %w", err)
		}
	}
}

// copyOgg copies whole pages and returns the last granule position.
func copyOgg(o Output, r io.Reader, longest time.Duration) (uint64, error) {
	// Managed or not, no rendition comes near twice its nominal rate for long.
	limit := int64(longest.Seconds()+10) * int64(o.Rendition.Kbps()) * 1000 / 8 * 2
	pages := ogg.NewReader(bufio.NewReaderSize(r, 64<<10))
	total, size, last := uint64(0), int64(0), false
	for {
		p, err := pages.Next()
		if errors.Is(err, io.EOF) {
			if !last {
				return total, fmt.Errorf("%s: %w: no last page", o.Rendition, ogg.ErrTruncated)
			}
			return total, nil
		}
		if err != nil {
			return total, fmt.Errorf("%s: %w", o.Rendition, err)
		}
		if size += int64(len(p.Raw)); size > limit {
			return total, &KilledError{Limit: LimitOutput, Detail: o.Rendition.String()}
		}
		if p.Granule > 0 {
			total = uint64(p.Granule)
		}
		last = p.Last
		if _, err := o.W.Write(p.Raw); err != nil {
			return total, fmt.Errorf("write %s: %w", o.Rendition, err)
		}
	}
}
