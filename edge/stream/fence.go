package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
)

const (
	// fenceFresh is how long an answer serves all streams of a session.
	fenceFresh = time.Second
	// fencesMost bounds the memory.
	fencesMost = 1 << 16
	// fencesEvery is how often playback is asked at most: what comes within that time is one
	// question. A stream has seconds of sound ahead of it while it waits.
	fencesEvery = 100 * time.Millisecond
	// fencesAtOnce bounds one question, as playback does.
	fencesAtOnce = 1000
	// fencesLimit is how long an answer may take.
	fencesLimit = 5 * time.Second
)

// fenceKey is a session that streams, at the epoch of its ticket.
type fenceKey struct {
	user, session, device id.ID
	epoch                 uint64
}

// fences asks playback which sessions may go on, for many at once, and remembers the
// answers for a moment.
type fences struct {
	now func() time.Time
	// ask returns a verdict per fence, in their order.
	ask func(context.Context, []*playbackv1.Fence) ([]string, error)

	mu    sync.Mutex
	of    map[fenceKey]verdict
	open  *question
	asked time.Time // by the clock of the process: when playback was asked last
}

type verdict struct {
	until time.Time
	err   error
}

// question is what playback is asked next.
type question struct {
	place  map[fenceKey]int
	fences []*playbackv1.Fence
	done   chan struct{} // closed when the rest is set
	errs   []error
}

func newFences(now func() time.Time, ask func(context.Context, []*playbackv1.Fence) ([]string, error)) *fences {
	return &fences{now: now, ask: ask, of: map[fenceKey]verdict{}}
}

// check tells whether a session may go on.
func (f *fences) check(ctx context.Context, k fenceKey) error {
	f.mu.Lock()
	if v, ok := f.of[k]; ok && f.now().Before(v.until) {
		f.mu.Unlock()
		return v.err
	}
	q := f.open
	if q == nil {
		q = &question{place: map[fenceKey]int{}, done: make(chan struct{})}
		f.open = q
		// Many wait for the answer: it does not end with the first of them.
		go f.answer(context.WithoutCancel(ctx), q, fencesEvery-time.Since(f.asked))
	}
	place, ok := q.place[k]
	if !ok {
		place = len(q.fences)
		q.place[k] = place
		q.fences = append(q.fences, &playbackv1.Fence{
			UserId: k.user.String(), SessionId: k.session.String(), DeviceId: k.device.String(), ActiveEpoch: k.epoch,
		})
		if len(q.fences) >= fencesAtOnce {
			f.open = nil // the next one asks in a question of its own
		}
	}
	f.mu.Unlock()
	select {
	case <-q.done:
		return q.errs[place]
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answer asks after a moment.
func (f *fences) answer(ctx context.Context, q *question, after time.Duration) {
	if after > 0 {
		<-time.After(after)
	}
	f.mu.Lock()
	if f.open == q {
		f.open = nil
	}
	f.asked = time.Now()
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, fencesLimit)
	defer cancel()
	said, err := f.ask(ctx, q.fences)
	if err == nil && len(said) != len(q.fences) {
		err = fmt.Errorf("check fences: %d answers to %d", len(said), len(q.fences))
	}
	q.errs = make([]error, len(q.fences))
	for i := range q.errs {
		if q.errs[i] = err; err == nil {
			q.errs[i] = judge(said[i])
		}
	}
	f.remember(q)
	close(q.done)
}

// judge is what a verdict of playback means.
func judge(said string) error {
	switch said {
	case "ok":
		return nil
	case "elsewhere":
		return wire.Errorf(wire.PlayingElsewhere, "playing on another device")
	case "revoked":
		return wire.Errorf(wire.TicketInvalid, "session was revoked")
	default:
		return fmt.Errorf("check fences: verdict %q", said)
	}
}

// remember keeps what was an answer: after anything else the next stream asks again.
func (f *fences) remember(q *question) {
	f.mu.Lock()
	defer f.mu.Unlock()
	until := f.now().Add(fenceFresh)
	for k, place := range q.place {
		err := q.errs[place]
		if refused := (*wire.Error)(nil); err != nil && !errors.As(err, &refused) {
			continue
		}
		if len(f.of) >= fencesMost {
			clear(f.of)
		}
		f.of[k] = verdict{until, err}
	}
}

// askFences asks playback.
func (s *Service) askFences(ctx context.Context, list []*playbackv1.Fence) ([]string, error) {
	res, err := s.deps.Streams.CheckFences(ctx, &playbackv1.CheckFencesRequest{Fences: list})
	if err != nil {
		return nil, fmt.Errorf("check fences: %w", err)
	}
	return res.GetVerdicts(), nil
}
