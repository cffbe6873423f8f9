package redisdb

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of a call.
const (
	outcomeOK     = "ok"
	outcomeFailed = "failed"
	outcomeAway   = "away" // Redis was not asked
)

type metrics struct {
	calls *prometheus.CounterVec
	took  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, c *Client) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_redis_calls_total", Help: "Calls of Redis by script and outcome; away were not made.",
		}, []string{"script", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "segue_redis_call_seconds", Help: "Time of calls that were made, failed ones included.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .1, 1},
		}, []string{"script"}),
	}
	if reg == nil {
		return m, nil
	}
	all := []prometheus.Collector{m.calls, m.took}
	for _, g := range []struct {
		name, help string
		get        func() float64
	}{
		{"segue_redis_up", "1 while calls are made, 0 while Redis is away.", func() float64 {
			if c.Away() {
				return 0
			}
			return 1
		}},
		{"segue_redis_connections", "Open connections to Redis.", func() float64 { return float64(c.current().PoolStats().TotalConns) }},
		{"segue_redis_idle_connections", "Connections to Redis that wait for a call.", func() float64 { return float64(c.current().PoolStats().IdleConns) }},
	} {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.get))
	}
	for _, col := range all {
		if err := reg.Register(col); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(script, outcome string, took time.Duration) {
	m.calls.WithLabelValues(script, outcome).Inc()
	if outcome != outcomeAway {
		m.took.WithLabelValues(script).Observe(took.Seconds())
	}
}
