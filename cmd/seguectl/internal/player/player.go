// Package player plays tracks one after the other into one line of sound: every sample
// of each, from the exact one that was asked for, and nothing in between.
package player

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/pcm"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
)

const (
	// prefetchAt is how much of a track is left when the next one is asked for, and
	// prefetched how much of that comes before it is played.
	prefetchAt = 30 * time.Second
	prefetched = 10 * time.Second
	// reportEvery is how much sound lies between two reports.
	reportEvery = 10 * time.Second
)

// Player plays by one session. Its fields are not changed while it plays.
type Player struct {
	Session *client.Session
	Line    *pcm.Line
	// Fast asks for sound as quickly as it is decoded, and not as it is heard.
	Fast    bool
	Quality wire.Quality
	// First is the play id of the first play; the others, and it if zero, are drawn.
	First  id.ID
	Random io.Reader
	Now    func() time.Time
	Log    *slog.Logger
	// Report takes the events of the plays; nil: nobody wants them.
	Report func(Event)
	// Progress is told where it is, several times a second; nil: nobody wants to know.
	Progress func(Progress)
	// Failed is told of each track that could not be played, or not to its end; nil:
	// nobody wants to know.
	Failed func(error)
}

// Progress is where a Player is.
type Progress struct {
	Index           int
	Position, Total time.Duration
	Transport       string
	Kbps            uint32
}

// Play plays tracks from a position in the first one until the last has been heard or ctx
// ends, which is no error unless another device is its cause. What was left out is joined in
// the error; Failed has been told.
func (p *Player) Play(ctx context.Context, tracks []id.ID, from time.Duration) (Stats, error) {
	s := Stats{Tracks: []TrackStats{}}
	var failures []error
	fail := func(err error) {
		failures = append(failures, err)
		if p.Failed != nil {
			p.Failed(err)
		}
	}
	// A track that is over is cleared away beside the next one, which must not wait for that.
	var closing sync.WaitGroup
	defer closing.Wait()
	var next *track
	defer func() {
		if next != nil {
			next.close()
		}
	}()
	for i, trackID := range tracks {
		if ctx.Err() != nil {
			break
		}
		t := next
		next = nil
		if t == nil || t.failedAhead() {
			if t != nil {
				closing.Go(t.close)
			}
			t = p.prepare(ctx, trackID, p.playID(i), from, false)
		}
		ahead := func() {
			if next == nil && i+1 < len(tracks) {
				next = p.prepare(ctx, tracks[i+1], p.playID(i+1), 0, true)
			}
		}
		stats, err := p.play(ctx, i, t, ahead)
		closing.Go(t.close)
		s.add(stats)
		from = 0
		if err != nil && ctx.Err() == nil {
			fail(fmt.Errorf("track %s: %w", trackID, err))
			if !skippable(err) {
				break
			}
		}
	}
	if err := p.Line.Drain(ctx); err != nil && ctx.Err() == nil {
		fail(err)
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrElsewhere) {
		fail(cause)
	}
	s.Gaps += p.Line.Gaps()
	return s, errors.Join(failures...)
}

func (p *Player) playID(index int) id.ID {
	if index == 0 && !p.First.IsZero() {
		return p.First
	}
	return id.New(p.Now(), p.Random)
}

// skippable failures are those of one track, and say nothing about the next.
func skippable(err error) bool {
	switch wire.CodeOf(err) {
	case wire.NotFound, wire.NotEntitled, wire.QualityUnavailable:
		return true
	default:
		return false
	}
}

// play plays one track into the line. It calls ahead when the next one should be asked for.
func (p *Player) play(ctx context.Context, index int, t *track, ahead func()) (TrackStats, error) {
	s := TrackStats{ID: t.id.String(), Prefetched: t.ahead}
	wanted := p.Now()
	r := &reporter{p: p, t: t, index: index}
	if err := t.await(ctx); err != nil {
		s.Error = err.Error()
		r.failed(err)
		return s, err
	}
	t.want(p.Line.Written())
	cut := newCut(t.stream)
	s.Rate, s.TotalSamples, s.QualityKbps = t.stream.Head().Rate, t.stream.Head().TotalSamples, t.kbps()
	err := p.pour(ctx, t, cut, func() {
		// What the listener waited for: nothing, where the page was there already.
		s.StartMs = max(0, millis(t.asked.Add(t.stream.Stats().Start).Sub(wanted)))
		if !t.ahead {
			s.StartMs = millis(t.stream.Stats().Start)
		}
		r.started(s)
	}, func() {
		r.progress(cut)
		if p.Progress != nil {
			p.Progress(Progress{index, cut.position(), cut.total(), t.stream.Stats().Transport, s.QualityKbps})
		}
		if cut.left() <= uint64(prefetchAt/time.Second)*pcm.Rate {
			ahead()
		}
	})
	st := t.stream.Stats()
	s.Bytes, s.Transport, s.Resumed, s.NetworkMs = st.Bytes, st.Transport, st.Resumed, millis(st.Start)
	s.frames, s.missing = cut.given-cut.padded, cut.padded
	s.Samples = cut.samples(s.frames)
	if err != nil && ctx.Err() == nil {
		s.Error = err.Error()
	}
	r.ended(ctx, cut, err)
	return s, err
}

// pour takes the track's sound from the decoder to the line.
func (p *Player) pour(ctx context.Context, t *track, cut *cut, first, each func()) error {
	buf := make([]byte, 32<<10)
	for cut.left() > 0 {
		n, err := io.ReadAtLeast(t.decoder, buf, pcm.FrameSize)
		// A read may end inside a frame; the rest of the frame is on its way.
		if rest := n % pcm.FrameSize; err == nil && rest > 0 {
			var more int
			more, err = io.ReadFull(t.decoder, buf[n:n+pcm.FrameSize-rest])
			n += more
		}
		if err != nil {
			return p.short(ctx, t, cut, first, each)
		}
		sound := cut.take(buf[:n])
		if len(sound) == 0 {
			continue
		}
		if err := p.write(ctx, cut, sound, first, each); err != nil {
			return err
		}
	}
	if cut.given == 0 {
		first() // from the very end
	}
	return nil
}

func (p *Player) write(ctx context.Context, cut *cut, sound []byte, first, each func()) error {
	begins := cut.given == 0
	if begins {
		first()
	}
	before := p.Line.Written()
	err := p.Line.Write(ctx, sound)
	cut.given += p.Line.Written() - before // all of it, or what was taken before the end
	if err != nil {
		return err
	}
	each()
	return nil
}

// short is the end of a decoder that gave less than the track has. Where that is not
// the stream's fault, silence takes the place of what is missing, so that all that follows
// is where it should be.
func (p *Player) short(ctx context.Context, t *track, cut *cut, first, each func()) error {
	if err := t.fedWhole(ctx); err != nil {
		return errors.Join(err, t.decoder.Close())
	}
	p.Log.WarnContext(ctx, "the decoder gave less than the track has", "track", t.id, "frames", cut.left(), "err", t.decoder.Close())
	silence := make([]byte, 32<<10)
	for cut.left() > 0 {
		part := silence[:min(uint64(len(silence)), cut.left()*pcm.FrameSize)]
		if err := p.write(ctx, cut, part, first, each); err != nil {
			return err
		}
		cut.padded += uint64(len(part) / pcm.FrameSize)
	}
	return nil
}

func millis(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
