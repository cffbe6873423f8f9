package playback

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	plays    *prometheus.CounterVec
	fenced   *prometheus.CounterVec
	recorded *prometheus.CounterVec
	listens  prometheus.Counter
	served   prometheus.Counter
	watching prometheus.Gauge
}

const (
	outcomeOK        = "ok"
	outcomePreparing = "preparing"
)

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		plays: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_playback_plays_total", Help: "PLAYs answered, by outcome.",
		}, []string{"outcome"}),
		fenced: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_playback_fence_checks_total", Help: "Fence checks, by verdict.",
		}, []string{"verdict"}),
		recorded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_playback_client_events_total", Help: "Events of clients, by what became of them.",
		}, []string{"outcome"}),
		listens: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_playback_listens_total", Help: "Plays that were counted.",
		}),
		served: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_playback_served_lines_total", Help: "Lines of edges' reports of what they served.",
		}),
		watching: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "segue_playback_watchers", Help: "Open streams of player state.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	m.plays.WithLabelValues(outcomeOK)
	m.plays.WithLabelValues(outcomePreparing)
	return m, errors.Join(reg.Register(m.plays), reg.Register(m.fenced), reg.Register(m.recorded),
		reg.Register(m.listens), reg.Register(m.served), reg.Register(m.watching))
}
