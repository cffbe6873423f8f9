package user

import (
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
	for _, c := range []prometheus.Collector{m.logins, m.refreshes, hashes} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
