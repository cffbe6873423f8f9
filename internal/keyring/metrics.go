package keyring

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell how old the current keys are.
func (r *Ring) Metrics() prometheus.Collector {
	return keyAges{r, r.now, prometheus.NewDesc("segue_keyring_key_age_seconds", "Age of the current key of a purpose.", []string{"purpose"}, nil)}
}

// keyAges tells how old the current keys are. It makes none: a purpose that nothing has
// used yet has no key.
type keyAges struct {
	ring *Ring
	now  func() time.Time
	desc *prometheus.Desc
}

func (k keyAges) Describe(ch chan<- *prometheus.Desc) { ch <- k.desc }

func (k keyAges) Collect(ch chan<- prometheus.Metric) {
	for _, purpose := range Purposes() {
		made, err := k.ring.Made(purpose)
		if err != nil || made.IsZero() {
			continue // readiness says where the folder cannot be read
		}
		ch <- prometheus.MustNewConstMetric(k.desc, prometheus.GaugeValue, max(0, k.now().Sub(made).Seconds()), string(purpose))
	}
}
