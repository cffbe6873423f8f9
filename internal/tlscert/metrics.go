package tlscert

import (
	"crypto/tls"

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
	shown, err := c.cert.GetCertificate(&tls.ClientHelloInfo{
		SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
	})
	if err != nil || shown == nil || shown.Leaf == nil {
		return // mode Off, or none yet: an ACME authority is being asked
	}
	ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(shown.Leaf.NotAfter.Unix()))
}
