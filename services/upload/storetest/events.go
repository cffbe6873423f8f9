package storetest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/outbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/upload"
)

// Relayed is a store with the relay of its events.
type Relayed interface {
	upload.Store
	Relay(log event.Log, logger *slog.Logger) *outbox.Relay
}

// Events checks that events come with their change, and none without.
func Events(t *testing.T, s Relayed) {
	t.Helper()
	u := New(owner, 1)
	one, two := Event(t, u, 1), Event(t, u, 2)
	if err := s.Create(t.Context(), upload.Creation{Uploads: []upload.Upload{u}, Events: []*eventv1.Envelope{one}}); err != nil {
		t.Fatal(err)
	}
	stale := u
	stale.Revision = 9
	if err := s.Save(t.Context(), upload.Change{Upload: stale, Events: []*eventv1.Envelope{Event(t, u, 10)}}); err == nil {
		t.Fatal("a stale change was taken")
	}
	if err := s.Save(t.Context(), upload.Change{Upload: u, Events: []*eventv1.Envelope{two}}); err != nil {
		t.Fatal(err)
	}
	log, err := locallog.Open(t.TempDir(), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Relay(log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	var got []string
	for r, err := range log.Read(ctx, event.Upload, 0, 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Unmarshal(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.GetId()); len(got) == 2 {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(got) != 2 || got[0] != one.GetId() || got[1] != two.GetId() {
		t.Errorf("events %v", got)
	}
}
