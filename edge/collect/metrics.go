package collect

import (
	"math"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// metrics are the events by what became of them, and what listeners noticed, as their
// apps tell it. An app may lie, of its own plays: nothing is decided by these figures, a
// label is never a word of an app's, and one report adds no more than its bound.
type metrics struct {
	events      *prometheus.CounterVec
	starts      *prometheus.HistogramVec
	seeks       prometheus.Histogram
	heard       prometheus.Counter
	underruns   prometheus.Counter
	interrupted prometheus.Counter
	failures    *prometheus.CounterVec

	mu   sync.Mutex // of a play's sums: its reports may come side by side
	sums *otter.Cache[string, played]
}

// played is what a play has been counted with so far.
type played struct {
	heardMS   uint64
	underruns uint32
	started   bool
}

const (
	// maxStart is the longest start that counts: beyond it a device slept, or lies.
	maxStart = 5 * time.Minute
	// maxUnderruns and maxHeard bound what one report adds.
	maxUnderruns = 100
	maxHeard     = time.Hour
)

func newMetrics(reg prometheus.Registerer, remembered int) (*metrics, error) {
	sums, err := otter.New(&otter.Options[string, played]{MaximumSize: remembered})
	if err != nil {
		return nil, err
	}
	m := &metrics{
		sums: sums,
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_collect_events_total", Help: "Events that clients sent, by what became of them.",
		}, []string{"outcome"}),
		starts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "segue_client_start_seconds", Help: "Time from the wish to hear a track to its first sound, as apps report it.",
			Buckets: []float64{.005, .02, .05, .075, .1, .15, .2, .3, .5, .75, 1, 2, 5, 15},
		}, []string{"transport"}),
		seeks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "segue_client_seek_seconds", Help: "Time from a seek to its first sound, as apps report it.",
			Buckets: []float64{.005, .02, .05, .075, .1, .15, .2, .3, .5, 1, 2, 5},
		}),
		heard: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_client_heard_seconds_total", Help: "Sound that was given to the listeners' outputs, as apps report it.",
		}),
		underruns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_client_underruns_total", Help: "Times that running sound stopped for want of data, as apps report it.",
		}),
		interrupted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_client_interrupted_plays_total", Help: "Plays with at least one underrun, as apps report it.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_client_play_errors_total", Help: "Plays that apps report to have failed, by the protocol's error.",
		}, []string{"code"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, t := range []string{"quic", "webtransport", "https", other} {
		m.starts.WithLabelValues(t)
	}
	for _, o := range []string{"accepted", "refused", "limited", "shed"} {
		m.events.WithLabelValues(o)
	}
	for _, c := range []prometheus.Collector{m.events, m.starts, m.seeks, m.heard, m.underruns, m.interrupted, m.failures} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// report is an event of a play that was sent, and what it says.
type report struct {
	id      string // the client's
	event   string // ours: no two clients share one
	payload proto.Message
}

// plays counts what playback took. What comes again adds nothing: starts and errors are
// known by the play, sums only grow.
func (m *metrics) plays(reports []report, refused []*collectv1.RefusedEvent) {
	out := make(map[string]bool, len(refused))
	for _, r := range refused {
		out[r.GetId()] = true
	}
	for _, r := range reports {
		if !out[r.id] {
			m.play(r)
		}
	}
}

func (m *metrics) play(r report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e := r.payload.(type) {
	case *eventv1.PlaybackStarted:
		s, _ := m.sums.GetIfPresent(e.GetPlayId())
		took := time.Duration(e.GetStartMs()) * time.Millisecond
		if !s.started && took <= maxStart {
			m.starts.WithLabelValues(transportOf(e.GetTransport())).Observe(took.Seconds())
		}
		s.started = true
		m.sums.Set(e.GetPlayId(), s)
	case *eventv1.PlaybackProgress:
		m.sound(e.GetPlayId(), e.GetHeardMs(), e.GetUnderruns())
	case *eventv1.PlaybackPaused:
		m.sound(e.GetPlayId(), e.GetHeardMs(), 0)
	case *eventv1.PlaybackSkipped:
		m.sound(e.GetPlayId(), e.GetHeardMs(), 0)
	case *eventv1.PlaybackEnded:
		m.sound(e.GetPlayId(), e.GetHeardMs(), 0)
	case *eventv1.PlaybackSeeked:
		took := time.Duration(e.GetSeekMs()) * time.Millisecond
		if m.fresh(r.event) && took <= maxStart {
			m.seeks.Observe(took.Seconds())
		}
	case *eventv1.PlaybackError:
		if m.fresh(r.event) {
			m.failures.WithLabelValues(codeOf(e.GetCode())).Inc()
		}
	}
}

// fresh reports whether an event has not been counted, and notes it.
func (m *metrics) fresh(event string) bool {
	_, seen := m.sums.GetIfPresent(event)
	m.sums.Set(event, played{})
	return !seen
}

// sound adds what is new in the sums of a play. heardMS and underruns only grow within one;
// a play that was forgotten meanwhile is counted once more, up to the bounds.
func (m *metrics) sound(playID string, heardMS uint64, underruns uint32) {
	s, _ := m.sums.GetIfPresent(playID)
	if heardMS > s.heardMS {
		m.heard.Add(min(time.Duration(min(heardMS-s.heardMS, math.MaxInt32))*time.Millisecond, maxHeard).Seconds())
		s.heardMS = heardMS
	}
	if underruns > s.underruns {
		if s.underruns == 0 {
			m.interrupted.Inc()
		}
		m.underruns.Add(float64(min(underruns-s.underruns, maxUnderruns)))
		s.underruns = underruns
	}
	m.sums.Set(playID, s)
}

// other is the label of every word that is not ours.
const other = "other"

// transportOf is the label of a transport, as apps spell it.
func transportOf(s string) string {
	switch s {
	case "quic", "quic-0rtt":
		return "quic"
	case "webtransport", "https":
		return s
	case "fetch": // the player's word for the fallback
		return "https"
	}
	return other
}

// codeOf is the label of an error of a play.
func codeOf(s string) string {
	switch s {
	case "BAD_FRAME", "TICKET_EXPIRED", "TICKET_INVALID", "NOT_FOUND", "NOT_ENTITLED", "PLAYING_ELSEWHERE", "RATE_LIMITED",
		"QUALITY_UNAVAILABLE", "DRAINING", "INTERNAL", "CANCELLED", "EARLY_REFUSED":
		return s
	}
	return other
}
