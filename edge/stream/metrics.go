package stream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/wire"
)

type metrics struct {
	starts *prometheus.HistogramVec
	ended  *prometheus.CounterVec
	early  prometheus.Counter
	bytes  prometheus.Counter
	conns  *prometheus.GaugeVec

	strangers prometheus.Gauge
	retries   prometheus.Counter
	turned    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		starts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "segue_stream_answer_seconds", Help: "Time from a PLAY to its HEAD and first record.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"transport"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_streams_ended_total", Help: "Streams that ended, by code; OK is good order.",
		}, []string{"transport", "code"}),
		early: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_stream_early_plays_total", Help: "Plays that came in 0-RTT data.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_stream_served_bytes_total", Help: "Bytes of frames sent and counted.",
		}),
		conns: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "segue_stream_connections", Help: "Open QUIC connections.",
		}, []string{"alpn"}),
		strangers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "segue_stream_unverified_handshakes", Help: "Handshakes of addresses that are not verified yet.",
		}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_stream_retries_total", Help: "Connection attempts whose address had to be verified first.",
		}),
		turned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_stream_connections_refused_total", Help: "Connections refused to verified addresses, by bound.",
		}, []string{"bound"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.starts, m.ended, m.early, m.bytes, m.conns, m.strangers, m.retries, m.turned} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observer is the [server.Observer] of one transport.
type observer struct {
	*metrics
	transport string
}

var _ server.Observer = observer{}

func (o observer) Started(_ *wire.Play, early bool, took time.Duration) {
	o.starts.WithLabelValues(o.transport).Observe(took.Seconds())
	if early {
		o.early.Inc()
	}
}

func (o observer) Ended(code wire.Code) {
	text := "OK"
	if code != 0 {
		text = code.String()
	}
	o.ended.WithLabelValues(o.transport, text).Inc()
}
