package pgdb

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/internal/register"
)

// meter registers the figures of the database under the label db, the schema's name.
func (db *DB) meter(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	took := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "segue_postgres_write_seconds", Help: "Time from the wish to write to the durable commit, the wait for a connection and repeats included.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
	})
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"db": db.name}, reg)
	all := []prometheus.Collector{took}
	for _, c := range []struct {
		name, help string
		get        func() float64
	}{
		{"segue_postgres_writes_total", "Changes that were committed.", func() float64 { return float64(db.writes.Load()) }},
		{"segue_postgres_failed_writes_total", "Changes that were rolled back, those refused by a rule included.", func() float64 { return float64(db.failed.Load()) }},
		{"segue_postgres_retries_total", "Transactions and reads that were repeated, because of another one or a lost connection.", func() float64 { return float64(db.retries.Load()) }},
		{"segue_postgres_connects_total", "Connections made.", func() float64 { return float64(db.pool.Stat().NewConnsCount()) }},
		{"segue_postgres_waits_total", "Uses that had to wait for a connection.", func() float64 { return float64(db.pool.Stat().EmptyAcquireCount()) }},
	} {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help}, c.get))
	}
	for _, g := range []struct {
		name, help string
		get        func() float64
	}{
		{"segue_postgres_connections", "Connections that are open.", func() float64 { return float64(db.pool.Stat().TotalConns()) }},
		{"segue_postgres_busy_connections", "Connections in use.", func() float64 { return float64(db.pool.Stat().AcquiredConns()) }},
		{"segue_postgres_max_connections", "Connections that may be open.", func() float64 { return float64(db.pool.Stat().MaxConns()) }},
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
