package sqlite_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/services/metadata/sqlite"
	"github.com/segue-music/segue/services/metadata/storetest"
)

func open(t *testing.T) storetest.Engine {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	l, err := locallog.Open(t.TempDir(), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return storetest.Engine{Store: s, Events: func(ctx context.Context) ([]*eventv1.Envelope, error) {
		if err := publish(ctx, s, l); err != nil {
			return nil, err
		}
		var out []*eventv1.Envelope
		for r, err := range l.Read(ctx, event.Catalogue, 0, 0, false) {
			if err != nil {
				return nil, err
			}
			e, err := event.Unmarshal(r.Value)
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		return out, nil
	}}
}

// publish runs the relay until nothing is pending.
func publish(ctx context.Context, s *sqlite.Store, l event.Log) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Relay(l, slog.New(slog.DiscardHandler)).Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		n, err := s.Pending(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		<-tick.C
	}
	cancel()
	return <-done
}

func TestStore(t *testing.T) { storetest.Run(t, open) }
