package resilience

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/internal/register"
)

// Metrics are of all services that a process calls.
type Metrics struct {
	known   *prometheus.GaugeVec
	open    *prometheus.CounterVec
	turned  *prometheus.CounterVec
	repeats *prometheus.CounterVec
}

// NewMetrics registers with reg.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	label := []string{"target"}
	m := &Metrics{
		known:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "segue_rpc_instances", Help: "Instances of a service that are known."}, label),
		open:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "segue_rpc_breaker_opened_total", Help: "Instances that were left alone because they failed."}, label),
		turned:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "segue_rpc_breaker_refused_total", Help: "Calls for which no instance was left."}, label),
		repeats: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "segue_rpc_repeated_total", Help: "Calls that were made again."}, label),
	}
	_, err := register.All(reg, m.known, m.open, m.turned, m.repeats)
	return m, err
}

// begin shows a service before anything has happened to it: the first time is a rise from 0.
func (m *Metrics) begin(service string) {
	for _, c := range []*prometheus.CounterVec{m.open, m.turned, m.repeats} {
		c.WithLabelValues(service)
	}
}

func (m *Metrics) instances(service string, n int) { m.known.WithLabelValues(service).Set(float64(n)) }

func (m *Metrics) opened(service string, open bool) {
	if open {
		m.open.WithLabelValues(service).Inc()
	}
}

func (m *Metrics) refused(service string) { m.turned.WithLabelValues(service).Inc() }

func (m *Metrics) repeated(service string) { m.repeats.WithLabelValues(service).Inc() }
