package stream

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
)

const (
	// fenceFresh is how long an answer serves all streams of a session.
	fenceFresh = time.Second
	// fencesMost bounds the memory.
	fencesMost = 1 << 16
)

type fenceKey struct {
	session id.ID
	epoch   uint64
}

// fences remembers for a moment what playback said of a session.
type fences struct {
	now func() time.Time
	mu  sync.Mutex
	of  map[fenceKey]verdict
}

type verdict struct {
	until time.Time
	err   error
}

func newFences(now func() time.Time) *fences {
	return &fences{now: now, of: map[fenceKey]verdict{}}
}

func (f *fences) check(ctx context.Context, k fenceKey, ask func(context.Context) error) error {
	f.mu.Lock()
	v, ok := f.of[k]
	f.mu.Unlock()
	if ok && f.now().Before(v.until) {
		return v.err
	}
	err := ask(ctx)
	var refused *wire.Error
	if err != nil && !errors.As(err, &refused) {
		return err // not an answer: the next stream asks again
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.of) >= fencesMost {
		clear(f.of)
	}
	f.of[k] = verdict{f.now().Add(fenceFresh), err}
	return err
}
