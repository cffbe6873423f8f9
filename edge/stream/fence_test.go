package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
)

// oracle answers by device and notes how many it was asked of at once.
type oracle struct {
	mu    sync.Mutex
	sizes []int
	say   map[id.ID]string
	err   error
}

func (o *oracle) ask(_ context.Context, list []*playbackv1.Fence) (said []string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sizes = append(o.sizes, len(list))
	if o.err != nil {
		return nil, o.err
	}
	for _, f := range list {
		device, err := id.Parse(f.GetDeviceId())
		if err != nil {
			return nil, err
		}
		said = append(said, o.say[device])
	}
	return said, nil
}

func device(n int) fenceKey {
	k := fenceKey{session: id.Derive("session", fmt.Sprint(n)), device: id.Derive("device", fmt.Sprint(n)), epoch: 1}
	return k
}

func TestFences_Together(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 2500
		o := &oracle{say: map[id.ID]string{}}
		for n := range streams {
			o.say[device(n).device] = []string{"ok", "elsewhere", "revoked"}[n%3]
		}
		f := newFences(time.Now, o.ask)
		if err := f.check(t.Context(), device(0)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		codes := make([][2]wire.Code, streams)
		for n := range streams {
			for k := range 2 { // two streams of a session are one line of the question
				wg.Go(func() { codes[n][k] = wire.CodeOf(f.check(t.Context(), device(n))) })
			}
		}
		wg.Wait()
		for n, got := range codes {
			if want := []wire.Code{0, wire.PlayingElsewhere, wire.TicketInvalid}[n%3]; got != [2]wire.Code{want, want} {
				t.Fatalf("device %d: codes %v, want %v", n, got, want)
			}
		}
		if len(o.sizes) != 4 || o.sizes[0] != 1 || slices.Max(o.sizes) > fencesAtOnce {
			t.Errorf("asked of %v, want 1 at once and the others in three questions of at most %d", o.sizes, fencesAtOnce)
		}
		time.Sleep(fenceFresh) //nolint:forbidigo // of the fake clock: no answer is fresh any more
		o.say[device(0).device] = "revoked"
		if err := f.check(t.Context(), device(0)); wire.CodeOf(err) != wire.TicketInvalid {
			t.Errorf("after %s: %v, want what is said now", fenceFresh, err)
		}
	})
}

func TestFences_NoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		o := &oracle{err: away, say: map[id.ID]string{}}
		f := newFences(time.Now, o.ask)
		if err := f.check(t.Context(), device(1)); !errors.Is(err, away) {
			t.Errorf("check: %v, want %v", err, away)
		}
		o.err = nil
		var refused *wire.Error
		if err := f.check(t.Context(), device(1)); err == nil || errors.As(err, &refused) {
			t.Errorf("check: %v, want one that is no refusal: playback does not know", err)
		}
		o.say[device(1).device] = "ok"
		if err := f.check(t.Context(), device(1)); err != nil {
			t.Errorf("check: %v: what was no answer is remembered", err)
		}
		if diff := cmp.Diff([]int{1, 1, 1}, o.sizes); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.check(ctx, device(2)); !errors.Is(err, context.Canceled) {
			t.Errorf("check: %v, want the caller's own end", err)
		}
		synctest.Wait()
		time.Sleep(time.Second) //nolint:forbidigo // of the fake clock: the question that nobody waits for ends
	})
}
