package tlscert

import (
	"crypto/tls"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell until when the certificate is good; nothing in mode Off.
func (m *Manager) Metrics() prometheus.Collector {
	return certificate{m, prometheus.NewDesc("segue_certificate_expiry_timestamp_seconds",
		"When the certificate that is shown ends, Unix time.", nil, prometheus.Labels{"door": "https"})}
}

type certificate struct {
	cert *Manager
	desc *prometheus.Desc
}

func (c certificate) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c certificate) Collect(ch chan<- prometheus.Metric) {
	if end := c.cert.expires(); !end.IsZero() {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(end.Unix()))
	}
}

// expires is when the first of the certificates that are shown ends; the zero time in
// mode Off, and while an authority is being asked.
func (m *Manager) expires() (end time.Time) {
	switch {
	case m.acme != nil:
		for _, domain := range m.acme.domains {
			var best time.Time // of a domain the one that lasts longest is shown
			for _, k := range m.acme.cache.AllMatchingCertificates(domain) {
				if k.Leaf != nil && k.Leaf.NotAfter.After(best) {
					best = k.Leaf.NotAfter
				}
			}
			if !best.IsZero() && (end.IsZero() || best.Before(end)) {
				end = best
			}
		}
	case m.source != nil:
		if shown, err := m.source.get(&tls.ClientHelloInfo{}); err == nil && shown != nil && shown.Leaf != nil {
			end = shown.Leaf.NotAfter
		}
	}
	return end
}
