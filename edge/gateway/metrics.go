package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	conns    prometheus.Gauge
	turned   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "segue_gateway_requests_total", Help: "Requests by route, method and status."},
			[]string{"route", "method", "status"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "segue_gateway_refused_total", Help: "Requests that the gateway answered itself, by reason."},
			[]string{"route", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "segue_gateway_duration_seconds", Help: "Time from the request's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "segue_gateway_in_flight", Help: "Requests being served, streams included."}),
		conns:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "segue_gateway_connections", Help: "Open connections."}),
		turned: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "segue_gateway_connections_refused_total", Help: "Connections closed at once, by bound."},
			[]string{"bound"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, bound := range []string{"all", "per_ip"} {
		m.turned.WithLabelValues(bound)
	}
	for _, c := range []prometheus.Collector{m.requests, m.refused, m.duration, m.inFlight, m.conns, m.turned} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(route, method string, status int, reason string, took time.Duration) {
	m.inFlight.Dec()
	m.requests.WithLabelValues(route, knownMethod(method), strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
	if reason != "" {
		m.refused.WithLabelValues(route, reason).Inc()
	}
}
