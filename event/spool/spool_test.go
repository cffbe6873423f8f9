package spool_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/logtest"
	"github.com/segue-music/segue/event/spool"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/test/deploy"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) event.Log {
		return open(t, t.TempDir(), spool.Options{Connect: connect(newFake(t).seeds, "")})
	})
}

// moody is a cluster that refuses, is slow, or does as told, in turn.
type moody struct {
	event.Log
	calls    atomic.Int64
	patience time.Duration
}

func (m *moody) Append(ctx context.Context, recs ...event.Record) error {
	switch m.calls.Add(1) % 4 {
	case 0:
		return errAway
	case 1:
		select {
		case <-time.After(3 * m.patience): // a late answer
		case <-ctx.Done():
		}
	}
	return m.Log.Append(ctx, recs...)
}

// settled waits after each append until readers see it.
type settled struct{ *spool.Log }

func (s settled) Append(ctx context.Context, recs ...event.Record) error {
	if err := s.Log.Append(ctx, recs...); err != nil {
		return err
	}
	return settle(ctx, s.Log)
}

// TestLog_ThroughDisk: what went through the disk is as if it had not.
func TestLog_ThroughDisk(t *testing.T) {
	logtest.Run(t, func(t *testing.T) event.Log {
		const patience = 5 * time.Millisecond
		return settled{open(t, t.TempDir(), spool.Options{Patience: patience, Connect: func(context.Context) (event.Log, error) {
			l, err := locallog.Open(t.TempDir(), locallog.Options{})
			return &moody{Log: l, patience: patience}, err
		}})}
	})
}

// TestOpen_WhileAway: a process that starts while the cluster is away takes events, and
// leaves them to the next one.
func TestOpen_WhileAway(t *testing.T) {
	f, dir := newFake(t), t.TempDir()
	f.away.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first := open(t, dir, spool.Options{Connect: connect(f.seeds, ""), Ask: time.Second})
	for n := range 10 {
		if err := first.Append(ctx, record("k", n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := first.Bounds(ctx, topic, 0); !errors.Is(err, spool.ErrAway) || fault.RetryAfter(err) == 0 {
		t.Errorf("bounds of an absent cluster: %v", err)
	}
	if err := first.Check(ctx); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if got := figure(t, first, "segue_event_spool_events"); got != 10 {
		t.Errorf("%v events wait by the metrics", got)
	}
	for _, name := range deploy.Spool() {
		figure(t, first, name) // that it exists
	}
	if figure(t, first, "segue_event_spool_bytes") == 0 || figure(t, first, "segue_event_spool_active") != 1 {
		t.Error("the metrics know of no bytes, or of no spooling")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Append(ctx, record("k", 10)); !errors.Is(err, event.ErrClosed) {
		t.Errorf("append to a closed log: %v", err)
	}
	second := open(t, dir, spool.Options{Connect: connect(f.seeds, ""), Ask: time.Second})
	if err := second.Append(ctx, record("k", 10)); err != nil {
		t.Fatal(err)
	}
	f.away.Store(false)
	if err := settle(ctx, second); err != nil {
		t.Fatal(err)
	}
	if got := stored(ctx, t, second)["k"]; len(got) != 11 || got[0] != 0 || got[10] != 10 {
		t.Errorf("delivered %v", got)
	}
}

// TestAppend_Full: without room an event is refused, and the caller told when to repeat.
func TestAppend_Full(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var full atomic.Bool
	l := open(t, t.TempDir(), spool.Options{Connect: connect(f.seeds, ""), Patience: 2 * time.Second, Space: func() error {
		if full.Load() {
			return fault.ErrDiskFull
		}
		return nil
	}})
	full.Store(true)
	if err := errors.Join(l.Append(ctx, record("k", 0)), l.Check(ctx)); err != nil {
		t.Errorf("a full disk matters while the cluster is there: %v", err)
	}
	f.away.Store(true)
	err := l.Append(ctx, record("other", 0))
	if !errors.Is(err, spool.ErrFull) || fault.HTTPStatus(err) != http.StatusServiceUnavailable || fault.RetryAfter(err) == 0 {
		t.Errorf("append without room: %v", err)
	}
	if err := l.Check(ctx); !errors.Is(err, spool.ErrFull) {
		t.Errorf("ready without room: %v", err)
	}
	full.Store(false)
	if err := l.Append(ctx, record("k", 1)); err != nil {
		t.Errorf("append with room again: %v", err)
	}
	f.away.Store(false)
	if err := settle(ctx, l); err != nil {
		t.Fatal(err)
	}
	if got := stored(ctx, t, l)["k"]; len(got) != 2 {
		t.Errorf("delivered %v", got)
	}
}

// figure is a metric's sum over the topics.
func figure(t *testing.T, l *spool.Log, name string) (sum float64) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(l.Metrics()); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		return sum
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
