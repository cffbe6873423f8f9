package stream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/wire"
)

type metrics struct {
	starts *prometheus.HistogramVec
	plays  *prometheus.CounterVec
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
		plays: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_stream_plays_total", Help: "PLAYs by how they began: OK with the first record, else the code that they got.",
		}, []string{"transport", "code"}),
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
	for _, t := range transports() {
		// From the start, so that the first failure is a rise from 0 and not a series
		// that comes from nowhere.
		m.plays.WithLabelValues(t, ok)
		m.plays.WithLabelValues(t, wire.Internal.String())
	}
	for _, c := range []prometheus.Collector{m.starts, m.plays, m.ended, m.early, m.bytes, m.conns, m.strangers, m.retries, m.turned} {
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
	o.plays.WithLabelValues(o.transport, ok).Inc()
	if early {
		o.early.Inc()
	}
}

func (o observer) Refused(code wire.Code) { o.plays.WithLabelValues(o.transport, codeName(code)).Inc() }

func (o observer) Ended(code wire.Code) { o.ended.WithLabelValues(o.transport, codeName(code)).Inc() }

// ok is the code of what went well.
const ok = "OK"

// codeName is the label of a code. A client's own number is not one: it may send any.
func codeName(code wire.Code) string {
	switch {
	case code == 0:
		return ok
	case code > wire.EarlyRefused:
		return "OTHER"
	}
	return code.String()
}

func transports() []string { return []string{quicTransport, webTransport, httpTransport} }

// The transports, as metrics name them.
const (
	quicTransport = "quic"
	webTransport  = "webtransport"
	httpTransport = "https"
)

// watch registers what is known only of a whole edge: the streams that are open, and
// until when the certificate that it shows is good.
func (s *Service) watch(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	for name, p := range map[string]*server.Server{quicTransport: s.quic, webTransport: s.web, httpTransport: s.http} {
		open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "segue_streams_open", Help: "Streams that are open: plays, and watches of player state.",
			ConstLabels: prometheus.Labels{"transport": name},
		}, func() float64 { return float64(p.Streams()) })
		if err := reg.Register(open); err != nil {
			return err
		}
	}
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "segue_certificate_expiry_timestamp_seconds", Help: "When the certificate that is shown ends, Unix time.",
		ConstLabels: prometheus.Labels{"door": "quic"},
	}, func() float64 { return float64(s.certs.expires().Unix()) }))
}
