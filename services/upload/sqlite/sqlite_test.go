package sqlite_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

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

func TestEvents(t *testing.T) { storetest.Events(t, open(t, filepath.Join(t.TempDir(), "u.db"))) }
