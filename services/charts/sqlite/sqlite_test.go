package sqlite_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/segue-music/segue/services/charts"
	"github.com/segue-music/segue/services/charts/sqlite"
	"github.com/segue-music/segue/services/charts/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) charts.Store {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "c.db"), sqlite.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}
