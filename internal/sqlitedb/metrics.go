package sqlitedb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/internal/register"
)

// meter registers the figures of the database under the label db, the name of its file
// without the ending.
func (db *DB) meter(path string, reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	took := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "segue_sqlite_write_seconds", Help: "Time from the wish to write to the durable commit, the wait for other writers included.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
	})
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"db": name}, reg)
	all := []prometheus.Collector{took}
	for _, c := range []struct {
		name, help string
		get        func(Stats) uint64
	}{
		{"segue_sqlite_writes_total", "Changes that were committed.", func(s Stats) uint64 { return s.Writes }},
		{"segue_sqlite_failed_writes_total", "Changes that were rolled back, those refused by a rule included.", func(s Stats) uint64 { return s.Failed }},
		{"segue_sqlite_commits_total", "Transactions committed; one holds the changes of many callers.", func(s Stats) uint64 { return s.Commits }},
	} {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help}, func() float64 { return float64(c.get(db.Stats())) }))
	}
	for _, g := range []struct {
		name, help string
		get        func() float64
	}{
		{"segue_sqlite_waiting_writes", "Callers that wait for their turn to write.", func() float64 { return float64(db.waiting()) }},
		{"segue_sqlite_wal_bytes", "Size of the write-ahead log, which grows while a reader holds it up.", func() float64 { return size(path + "-wal") }},
		{"segue_sqlite_file_bytes", "Size of the database's file.", func() float64 { return size(path) }},
	} {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.get))
	}
	undo, err := register.All(labelled, all...)
	if err != nil {
		return err
	}
	db.took, db.unmetered = took, undo
	return nil
}

func (db *DB) waiting() int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.queue)
}

// size of a file, 0 where there is none.
func size(path string) float64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return float64(info.Size())
}

// Ping says whether the database answers: one reader reads and the writer takes its turn.
// It changes nothing, so that it costs no sync.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.readers.PingContext(ctx); err != nil {
		return fmt.Errorf("ping readers: %w", err)
	}
	var version int64
	if err := db.readers.QueryRowContext(ctx, "PRAGMA schema_version").Scan(&version); err != nil {
		return fmt.Errorf("ping readers: %w", err)
	}
	err := db.Write(ctx, func(tx *Tx) error {
		var one int
		return tx.QueryRowContext(ctx, "SELECT 1").Scan(&one)
	})
	if err != nil {
		return fmt.Errorf("ping writer: %w", err)
	}
	return nil
}
