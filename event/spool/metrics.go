package spool

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what waits on the disk, and since when.
func (l *Log) Metrics() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("segue_event_spool_"+name, help, labels, nil)
	}
	return &collector{
		log:     l,
		reached: desc("reached", "1 once the cluster's event log was reached since the start."),
		active:  desc("active", "1 while events of the topic go through the disk.", "topic"),
		events:  desc("events", "Events on the disk that the cluster does not have.", "topic"),
		bytes:   desc("bytes", "Bytes of keys, values and headers of those events.", "topic"),
		oldest:  desc("oldest_seconds", "Age of the oldest of those events, 0 where there is none.", "topic"),
		kept:    desc("kept_total", "Events acknowledged because the disk had them.", "topic"),
		sent:    desc("delivered_total", "Events delivered from the disk.", "topic"),
		refused: desc("refused_total", "Events refused because neither the cluster nor the disk could take them."),
	}
}

type collector struct {
	log                                                         *Log
	reached, active, events, bytes, oldest, kept, sent, refused *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.reached, c.active, c.events, c.bytes, c.oldest, c.kept, c.sent, c.refused} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(c.reached, one(c.log.reached()))
	counter(c.refused, c.log.refused.Load())
	for topic, n := range c.log.lanes {
		n.mu.Lock()
		spooling, delivered, bytes, kept, sent := n.spooling, n.delivered, n.bytes, n.spooled, n.sent
		n.mu.Unlock()
		_, next, err := c.log.disk.Bounds(context.Background(), topic, 0)
		if err != nil {
			continue // closed
		}
		gauge(c.active, one(spooling), topic)
		gauge(c.events, float64(next-delivered), topic)
		gauge(c.bytes, float64(bytes), topic)
		gauge(c.oldest, c.age(topic, delivered), topic)
		counter(c.kept, kept, topic)
		counter(c.sent, sent, topic)
	}
}

// age is that of the record at offset, in seconds.
func (c *collector) age(topic string, offset int64) float64 {
	for rec, err := range c.log.disk.Read(context.Background(), topic, 0, offset, false) {
		if err != nil {
			break
		}
		return max(0, c.log.opt.Now().Sub(rec.Time).Seconds())
	}
	return 0
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
