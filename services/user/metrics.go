package user

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/services/user/password"
)

// metrics count sign-ins and refreshes by how they ended.
type metrics struct {
	logins    *prometheus.CounterVec
	refreshes *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, h *password.Hasher) (*metrics, error) {
	m := &metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_user_logins_total", Help: "Sign-in attempts by result.",
		}, []string{"result"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_user_refreshes_total", Help: "Uses of refresh tokens by result.",
		}, []string{"result"}),
	}
	if r == nil {
		return m, nil
	}
	hashes := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "segue_user_password_hashes_total", Help: "Password hashes computed, the dearest thing this service does.",
	}, func() float64 { return float64(h.Runs()) })
	refused := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "segue_user_password_refused_total", Help: "Passwords not looked at because slots and queue were full.",
	}, func() float64 { return float64(h.Refused()) })
	waited := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "segue_user_password_wait_seconds", Help: "Time that a password waited for a hashing slot.",
		Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10},
	})
	h.OnWait(func(d time.Duration) { waited.Observe(d.Seconds()) })
	gauge := func(name, help string, get func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "segue_user_password_" + name, Help: help}, func() float64 { return float64(get()) })
	}
	for _, c := range []prometheus.Collector{
		m.logins, m.refreshes, hashes, refused, waited,
		gauge("slots", "Passwords that can be hashed at a time.", func() int { _, n, _, _ := h.Load(); return n }),
		gauge("slots_busy", "Passwords being hashed.", func() int { n, _, _, _ := h.Load(); return n }),
		gauge("queue_capacity", "Passwords that may wait for a slot; more are refused.", func() int { _, _, _, n := h.Load(); return n }),
		gauge("queue_waiting", "Passwords that wait for a slot.", func() int { _, _, n, _ := h.Load(); return n }),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
