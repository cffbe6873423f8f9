package cacheblob

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/internal/register"
)

type metrics struct {
	reads    *prometheus.CounterVec // bytes, by hit or miss
	fetches  *prometheus.CounterVec // by result
	origin   prometheus.Counter
	evicted  prometheus.Counter
	failures prometheus.Counter
	bytes    prometheus.Gauge
	chunks   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const space, part = "segue", "object_cache"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: space, Subsystem: part, Name: name, Help: help})
	}
	m := &metrics{
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: part, Name: "read_bytes_total", Help: "Bytes read of objects, by whether they were on the disk.",
		}, []string{"found"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: part, Name: "fetches_total", Help: "Chunks asked of the origin, by result.",
		}, []string{"result"}),
		origin:   counter("origin_bytes_total", "Bytes that came from the origin."),
		evicted:  counter("evicted_total", "Chunks that had to go for others."),
		failures: counter("disk_failures_total", "Chunks that could not be written, read or removed."),
		bytes:    gauge("bytes", "Bytes of objects on the disk."),
		chunks:   gauge("chunks", "Chunks of objects on the disk."),
	}
	for _, found := range []string{"hit", "miss"} {
		m.reads.WithLabelValues(found)
	}
	for _, result := range []string{"ok", "failed"} {
		m.fetches.WithLabelValues(result)
	}
	if reg == nil {
		return m, nil
	}
	_, err := register.All(reg, m.reads, m.fetches, m.origin, m.evicted, m.failures, m.bytes, m.chunks)
	return m, err
}

func (m *metrics) count(found string, n int) { m.reads.WithLabelValues(found).Add(float64(n)) }

func (m *metrics) fetched(err error, n int) {
	m.origin.Add(float64(n))
	if err != nil {
		m.fetches.WithLabelValues("failed").Inc()
		return
	}
	m.fetches.WithLabelValues("ok").Inc()
}

func (m *metrics) hold(bytes int64, chunks int) {
	m.bytes.Set(float64(bytes))
	m.chunks.Set(float64(chunks))
}
