package upload

import (
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
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
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
	var errs error
	for _, c := range []prometheus.Collector{m.states, m.steps, m.failures, m.playable, m.received} {
		errs = errors.Join(errs, reg.Register(c))
	}
	if errs != nil {
		return nil, fmt.Errorf("register upload metrics: %w", errs)
	}
	return m, nil
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
