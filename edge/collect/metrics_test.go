package collect

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

func told(id string, m proto.Message) report { return report{id, "event " + id, m} }

// TestMetrics_Plays: what comes again adds nothing, what was refused counts nothing, and
// sums of a play are counted by what is new in them.
func TestMetrics_Plays(t *testing.T) {
	m, err := newMetrics(prometheus.NewPedanticRegistry(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	started := told("1", &eventv1.PlaybackStarted{PlayId: "p", StartMs: 70, Transport: "webtransport"})
	batch := []report{
		started,
		told("2", &eventv1.PlaybackProgress{PlayId: "p", HeardMs: 5_000}),
		told("3", &eventv1.PlaybackProgress{PlayId: "p", HeardMs: 10_000, Underruns: 2}),
		told("4", &eventv1.PlaybackSeeked{PlayId: "p", SeekMs: 60}),
		told("5", &eventv1.PlaybackEnded{PlayId: "p", HeardMs: 12_000}),
		told("6", &eventv1.PlaybackError{PlayId: "p", Code: "INTERNAL"}),
		told("7", &eventv1.PlaybackProgress{PlayId: "other", HeardMs: 60_000, Underruns: 9}),
	}
	refused := []*collectv1.RefusedEvent{{Id: "7", Reason: "no such play"}}
	for range 2 {
		m.plays(batch, refused)
	}
	m.plays([]report{told("8", &eventv1.PlaybackProgress{PlayId: "p", HeardMs: 15_000, Underruns: 3})}, nil)
	for name, c := range map[string]struct {
		of   prometheus.Collector
		want float64
	}{
		"heard": {m.heard, 15}, "underruns": {m.underruns, 3}, "interrupted plays": {m.interrupted, 1}, "errors": {m.failures.WithLabelValues("INTERNAL"), 1},
	} {
		if got := testutil.ToFloat64(c.of); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	want := `# HELP segue_client_seek_seconds Time from a seek to its first sound, as apps report it.
# TYPE segue_client_seek_seconds histogram
segue_client_seek_seconds_bucket{le="0.005"} 0
segue_client_seek_seconds_bucket{le="0.02"} 0
segue_client_seek_seconds_bucket{le="0.05"} 0
segue_client_seek_seconds_bucket{le="0.075"} 1
segue_client_seek_seconds_bucket{le="0.1"} 1
segue_client_seek_seconds_bucket{le="0.15"} 1
segue_client_seek_seconds_bucket{le="0.2"} 1
segue_client_seek_seconds_bucket{le="0.3"} 1
segue_client_seek_seconds_bucket{le="0.5"} 1
segue_client_seek_seconds_bucket{le="1"} 1
segue_client_seek_seconds_bucket{le="2"} 1
segue_client_seek_seconds_bucket{le="5"} 1
segue_client_seek_seconds_bucket{le="+Inf"} 1
segue_client_seek_seconds_sum 0.06
segue_client_seek_seconds_count 1
`
	if err := testutil.CollectAndCompare(m.seeks, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if n := samples(t, m.starts); n != 1 {
		t.Errorf("%d starts", n)
	}
}

// TestMetrics_Hostile: words of a client become no labels, and one report adds no more
// than its bound.
func TestMetrics_Hostile(t *testing.T) {
	m, err := newMetrics(nil, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"", "quic-0rtt", "fetch", "a", "b", "c", strings.Repeat("x", 64), "\"} 1\nsegue_fake 1", "INTERNAL "} {
		m.plays([]report{
			told(word, &eventv1.PlaybackStarted{PlayId: "s" + word, Transport: word}),
			told("e"+word, &eventv1.PlaybackError{PlayId: "p", Code: word}),
		}, nil)
	}
	if n := testutil.CollectAndCount(m.starts); n > 4 {
		t.Errorf("%d transports", n)
	}
	if n := testutil.CollectAndCount(m.failures); n > 13 {
		t.Errorf("%d codes", n)
	}
	m.plays([]report{
		told("u", &eventv1.PlaybackProgress{PlayId: "u", HeardMs: 1 << 40, Underruns: 1 << 31}),
		told("l", &eventv1.PlaybackStarted{PlayId: "l", StartMs: 1 << 31}),
	}, nil)
	if got := testutil.ToFloat64(m.underruns); got != maxUnderruns {
		t.Errorf("%v underruns by one report", got)
	}
	if got := testutil.ToFloat64(m.heard); got != maxHeard.Seconds() {
		t.Errorf("%v s heard by one report", got)
	}
	if n := samples(t, m.starts); n != 9 {
		t.Errorf("%d starts, that of 25 days counted", n)
	}
}

// samples of a histogram, over all labels.
func samples(t *testing.T, c prometheus.Collector) (n uint64) {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			n += m.GetHistogram().GetSampleCount()
		}
	}
	return n
}
