package logmetrics_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/logmetrics"
	"github.com/segue-music/segue/event/logtest"
)

// failing refuses appends with an error.
type failing struct {
	event.Log
	err error
}

func (f *failing) Append(ctx context.Context, recs ...event.Record) error {
	if f.err != nil {
		return f.err
	}
	return f.Log.Append(ctx, recs...)
}

type fixture struct {
	log *logmetrics.Log
	raw *failing
	reg *prometheus.Registry
	now atomic.Int64
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{reg: prometheus.NewPedanticRegistry()}
	f.now.Store(1_700_000_000)
	clock := func() time.Time { return time.Unix(f.now.Load(), 0) }
	l, err := locallog.Open(t.TempDir(), locallog.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f.raw = &failing{Log: l}
	if f.log, err = logmetrics.New(f.raw, f.reg, clock); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestLog: a log with meters keeps every promise of a log.
func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) event.Log {
		l, err := locallog.Open(t.TempDir(), locallog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		m, err := logmetrics.New(l, prometheus.NewRegistry(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return m
	})
}

func (f *fixture) expect(t *testing.T, want string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(f.reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestAppend(t *testing.T) {
	f := setUp(t)
	rec := func(topic string) event.Record {
		return event.Record{Topic: topic, Key: []byte("kk"), Value: []byte("value")}
	}
	if err := f.log.Append(t.Context(), rec(event.Upload), rec(event.Upload), rec(event.Catalogue)); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{event.ErrFailed, event.ErrTopic, context.Canceled, errors.New("disk is full"), errors.New("disk is full")} {
		f.raw.err = err
		if got := f.log.Append(t.Context(), rec(event.Upload)); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	f.expect(t, `# HELP segue_event_appended_total Events made durable.
# TYPE segue_event_appended_total counter
segue_event_appended_total{topic="catalogue-events"} 1
segue_event_appended_total{topic="upload-events"} 2
# HELP segue_event_appended_bytes_total Bytes of keys, values and headers made durable.
# TYPE segue_event_appended_bytes_total counter
segue_event_appended_bytes_total{topic="catalogue-events"} 7
segue_event_appended_bytes_total{topic="upload-events"} 14
# HELP segue_event_append_failures_total Appends that failed, by what failed; cancelled is the caller's wish.
# TYPE segue_event_append_failures_total counter
segue_event_append_failures_total{cause="cancelled"} 1
segue_event_append_failures_total{cause="closed"} 0
segue_event_append_failures_total{cause="failed"} 1
segue_event_append_failures_total{cause="other"} 2
segue_event_append_failures_total{cause="too_large"} 0
segue_event_append_failures_total{cause="topic"} 1
# HELP segue_event_log_failed 1 once the log can promise nothing any more and the process has to start anew.
# TYPE segue_event_log_failed gauge
segue_event_log_failed 1
`, "segue_event_appended_total", "segue_event_appended_bytes_total", "segue_event_append_failures_total", "segue_event_log_failed")
}

// TestLag: a group is known once it reads, its lag is in events and in seconds, and an
// unknown topic or a malformed group is no label.
func TestLag(t *testing.T) {
	f := setUp(t)
	for range 3 {
		if err := f.log.Append(t.Context(), event.Record{Topic: event.Upload, Key: []byte("k"), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
		f.now.Add(10)
	}
	names := []string{"segue_event_consumer_lag_events", "segue_event_consumer_lag_seconds"}
	f.expect(t, "", names...)
	_, _ = f.log.Committed(t.Context(), "readers", "no-topic", 0)
	_, _ = f.log.Committed(t.Context(), "No Group", event.Upload, 0)
	if _, err := f.log.Committed(t.Context(), "readers", event.Upload, 0); err != nil {
		t.Fatal(err)
	}
	lag := func(events, seconds string) string {
		return `# HELP segue_event_consumer_lag_events Events that a consumer group has not worked off.
# TYPE segue_event_consumer_lag_events gauge
segue_event_consumer_lag_events{group="readers",topic="upload-events"} ` + events + `
# HELP segue_event_consumer_lag_seconds Age of the oldest event that a consumer group has not worked off, 0 where there is none.
# TYPE segue_event_consumer_lag_seconds gauge
segue_event_consumer_lag_seconds{group="readers",topic="upload-events"} ` + seconds + "\n"
	}
	f.expect(t, lag("3", "30"), names...)
	if err := f.log.Commit(t.Context(), "readers", event.Upload, 0, 2); err != nil {
		t.Fatal(err)
	}
	f.expect(t, lag("1", "10"), names...)
	if err := f.log.Commit(t.Context(), "readers", event.Upload, 0, 3); err != nil {
		t.Fatal(err)
	}
	f.expect(t, lag("0", "0"), names...)
}
