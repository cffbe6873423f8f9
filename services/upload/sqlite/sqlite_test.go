package sqlite_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/sqlite"
	"github.com/segue-music/segue/services/upload/storetest"
)

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) upload.Store { return open(t, filepath.Join(t.TempDir(), "u.db")) })
}

// TestOpen_VoidsLeases: what an earlier process held is free, and no later.
func TestOpen_VoidsLeases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "u.db")
	s := open(t, path)
	u := storetest.New("000000000000000000000A", 1)
	u.Stage = upload.StageTags
	if err := s.Create(t.Context(), upload.Creation{Uploads: []upload.Upload{u}}); err != nil {
		t.Fatal(err)
	}
	first, err := s.Claim(t.Context(), upload.LaneLight, time.Now(), time.Hour, 1)
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if err := s.Save(t.Context(), upload.Change{Upload: first[0], Lease: first[0].Lease}); !errors.Is(err, upload.ErrConflict) {
		t.Errorf("error %v, want ErrConflict", err)
	}
	if us, err := s.Claim(t.Context(), upload.LaneLight, time.Now(), time.Hour, 1); err != nil || len(us) != 1 {
		t.Errorf("%v, %v", us, err)
	}
}

// TestRelay: events come with their change, and none without.
func TestRelay(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "u.db"))
	u := storetest.New("000000000000000000000A", 1)
	one, two := storetest.Event(t, u, 1), storetest.Event(t, u, 2)
	if err := s.Create(t.Context(), upload.Creation{Uploads: []upload.Upload{u}, Events: []*eventv1.Envelope{one}}); err != nil {
		t.Fatal(err)
	}
	stale := u
	stale.Revision = 9
	if err := s.Save(t.Context(), upload.Change{Upload: stale, Events: []*eventv1.Envelope{storetest.Event(t, u, 10)}}); err == nil {
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
