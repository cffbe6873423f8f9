//go:build engines

package postgres

import (
	"testing"
	"time"

	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/pgdb/pgtest"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/charts"
	"github.com/segue-music/segue/services/charts/storetest"
)

// TestPostgreSQL runs everything that needs the real server on one.
func TestPostgreSQL(t *testing.T) {
	pg := testengine.PostgreSQL(t)
	open := func(t *testing.T) *Store {
		t.Helper()
		s, err := Open(t.Context(), pgtest.Config(t, pg.Database(t), Schema), pgdb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	t.Run("store", func(t *testing.T) { storetest.Run(t, func(t *testing.T) charts.Store { return open(t) }) })
	t.Run("plan", func(t *testing.T) {
		pgtest.Plan(t, open(t).db, "total_rank", top, int16(charts.Hour), time.Now().UnixMilli(), "SE", charts.Size)
	})
}
