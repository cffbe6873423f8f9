package cassandradb

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/segue-music/segue/internal/register"
	"github.com/segue-music/segue/internal/span"
)

// Kinds of statements, as the figures and the traces have them.
const (
	kindRead      = "read"
	kindSerial    = "serial_read"
	kindWrite     = "write"
	kindCondition = "conditional_write"
)

// meters are the figures of one keyspace.
type meters struct {
	took         *prometheus.HistogramVec
	failed       *prometheus.CounterVec
	refused      prometheus.Counter
	resolved     *prometheus.CounterVec
	unregistered func()
}

// register makes them, under the label db, the schema's name.
func (m *meters) register(name string, reg prometheus.Registerer) error {
	m.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "segue_cassandra_seconds", Help: "Time of a statement in Cassandra, repeats included; its count is the number of statements.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
	}, []string{"kind"})
	m.failed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "segue_cassandra_failures_total", Help: "Statements that Cassandra did not do or did not answer in time.",
	}, []string{"kind"})
	m.refused = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "segue_cassandra_refused_total", Help: "Conditional writes that met another change and were not applied.",
	})
	m.resolved = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "segue_cassandra_resolved_total", Help: "Conditional writes that were not answered, by what was found out about them.",
	}, []string{"outcome"})
	for _, kind := range []string{kindRead, kindSerial, kindWrite, kindCondition} {
		m.failed.WithLabelValues(kind)
	}
	if reg == nil {
		return nil
	}
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"db": name}, reg)
	undo, err := register.All(labelled, m.took, m.failed, m.refused, m.resolved)
	m.unregistered = undo
	return err
}

func (m *meters) unregister() {
	if m.unregistered != nil {
		m.unregistered()
	}
}

// do runs one statement under a span and counts it.
func (db *DB) do(ctx context.Context, kind string, run func(context.Context) error) (err error) {
	if db.closed.Load() {
		return ErrClosed
	}
	ctx, sp := span.Start(ctx, "cassandra "+kind)
	if sp.IsRecording() {
		sp.SetAttributes(attribute.String("db.system.name", "cassandra"), attribute.String("db.namespace", db.name))
	}
	start := time.Now()
	if db.stall.on.Load() {
		db.meters.failed.WithLabelValues(kind).Inc()
		span.End(sp, errStalled)
		return errStalled
	}
	err = db.kind(ctx, db.interrupted(kind, func() error { return db.bounded(ctx, kind, run) }))
	db.left(err)
	db.meters.took.WithLabelValues(kind).Observe(time.Since(start).Seconds())
	if err != nil && !errors.Is(err, context.Canceled) {
		db.meters.failed.WithLabelValues(kind).Inc()
	}
	span.End(sp, err)
	return err
}

// bounded has a plain read, all its tries together, take no longer than one try may.
func (db *DB) bounded(ctx context.Context, kind string, run func(context.Context) error) error {
	if kind == kindRead {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, db.timeout)
		defer cancel()
	}
	return run(ctx)
}

// interrupted runs one statement, between the two calls of a test's interrupt.
func (db *DB) interrupted(kind string, run func() error) error {
	if db.interrupt == nil {
		return run()
	}
	if err := db.interrupt(kind, false); err != nil {
		return err
	}
	if err := run(); err != nil {
		return err
	}
	return db.interrupt(kind, true)
}
