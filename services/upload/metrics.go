package upload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	states   *prometheus.CounterVec
	steps    *prometheus.HistogramVec
	failures *prometheus.CounterVec
	playable prometheus.Histogram
	received prometheus.Counter
}

// newMetrics registers with reg, or with nobody when it is nil.
func newMetrics(reg prometheus.Registerer, jobs prometheus.Collector) (*metrics, error) {
	m := &metrics{
		states: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_upload_transitions_total", Help: "Uploads that came into a state.",
		}, []string{"state"}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "segue_upload_step_seconds", Help: "Wall time of a finished step.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 12),
		}, []string{"step"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_upload_failures_total", Help: "Failed steps; final ones end the job.",
		}, []string{"step", "code", "final"}),
		playable: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "segue_upload_playable_seconds", Help: "Time from the queue to the first published rendition.",
			Buckets: prometheus.ExponentialBuckets(0.5, 2, 14),
		}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_upload_received_bytes_total", Help: "Bytes received by resumable upload.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	// What ends jobs without being the file's fault: a first failure is a rise from 0.
	for _, step := range []string{"probe", "cover", "transcode", "seal", "fingerprint", "tell"} {
		for _, code := range []string{"gave_up", "timeout", "decoder", "refused"} {
			m.failures.WithLabelValues(step, code, boolText(true))
		}
	}
	var errs error
	for _, c := range []prometheus.Collector{m.states, m.steps, m.failures, m.playable, m.received, jobs} {
		errs = errors.Join(errs, reg.Register(c))
	}
	if errs != nil {
		return nil, fmt.Errorf("register upload metrics: %w", errs)
	}
	return m, nil
}

// queueLimit bounds what a scrape waits for the store.
const queueLimit = 2 * time.Second

// queue asks the store at each scrape what waits.
type queue struct {
	store            Store
	now              func() time.Time
	uploads, overdue *prometheus.Desc
}

func newQueue(s Store, now func() time.Time) queue {
	return queue{
		store: s, now: now,
		uploads: prometheus.NewDesc("segue_upload_jobs", "Uploads by state; failed ones are dead letters, to be tried again by a person or never.", []string{"state"}, nil),
		overdue: prometheus.NewDesc("segue_upload_overdue_seconds", "How long the job that waits longest in a lane has been due, 0 where none is.", []string{"lane"}, nil),
	}
}

func (q queue) Describe(ch chan<- *prometheus.Desc) { ch <- q.uploads; ch <- q.overdue }

func (q queue) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), queueLimit)
	defer cancel()
	counts, err := q.store.Counts(ctx)
	if err != nil {
		return // no figure is the truth; readiness says that the store does not answer
	}
	for _, s := range []State{Receiving, Queued, Processing, Playable, Complete, Failed, Duplicate} {
		ch <- prometheus.MustNewConstMetric(q.uploads, prometheus.GaugeValue, float64(counts[s]), stateName(s))
	}
	for name, lane := range map[string]Lane{"light": LaneLight, "cover": LaneCover, "audio": LaneAudio} {
		due, err := q.store.NextDue(ctx, lane)
		if err != nil {
			return
		}
		late := 0.0
		if !due.IsZero() {
			late = max(0, q.now().Sub(due).Seconds())
		}
		ch <- prometheus.MustNewConstMetric(q.overdue, prometheus.GaugeValue, late, name)
	}
}

func (m *metrics) transition(old, now Upload, at time.Time) {
	if old.State == now.State {
		return
	}
	m.states.WithLabelValues(stateName(now.State)).Inc()
	if now.State == Playable && old.State != Complete {
		m.playable.Observe(at.Sub(now.Created).Seconds())
	}
}
