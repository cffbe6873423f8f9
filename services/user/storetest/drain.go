package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/outbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// Outbox is what an engine offers besides user.Store.
type Outbox interface {
	Relay(log event.Log, logger *slog.Logger) *outbox.Relay
	Pending(ctx context.Context) (int64, error)
}

// Drain publishes what an engine commits to a log of its own, and gives the function that
// reads it, for Opened.Events.
func Drain(t testing.TB, engine Outbox) func(ctx context.Context) ([]*eventv1.Envelope, error) {
	t.Helper()
	log, err := locallog.Open(t.TempDir(), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- engine.Relay(log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(ctx context.Context) ([]*eventv1.Envelope, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		for tick := time.NewTicker(time.Millisecond); ; {
			n, err := engine.Pending(ctx)
			if err != nil {
				return nil, fmt.Errorf("wait for the outbox: %w", err)
			}
			if n == 0 {
				tick.Stop()
				break
			}
			<-tick.C
		}
		var events []*eventv1.Envelope
		for r, err := range log.Read(ctx, event.UserIdentity, 0, 0, false) {
			if err != nil {
				return nil, err
			}
			e, err := event.Unmarshal(r.Value)
			if err != nil {
				return nil, err
			}
			if want := key(e); string(r.Key) != want {
				return nil, fmt.Errorf("event %s has key %q, want %q", e.GetId(), r.Key, want)
			}
			events = append(events, e)
		}
		return events, nil
	}
}

// key is what orders an event: its user, or itself where it is about nobody.
func key(e *eventv1.Envelope) string {
	if e.GetUserId() != "" {
		return e.GetUserId()
	}
	return e.GetId()
}
