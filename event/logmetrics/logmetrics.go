// Package logmetrics puts meters on an event log of any engine: how long an append takes,
// what is written to which topic, what fails, and how far behind each consumer group is.
package logmetrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/event"
)

// Log is an [event.Log] with meters.
type Log struct {
	event.Log
	now func() time.Time

	append   *prometheus.HistogramVec
	events   *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	failures *prometheus.CounterVec
	failed   prometheus.Gauge
	lag, age *prometheus.Desc

	mu     sync.Mutex
	groups map[follower]bool // groups that this process reads as
}

// follower is a group and a topic that it reads.
type follower struct{ group, topic string }

// New puts meters on log. now is the clock that records are stamped with.
func New(log event.Log, reg prometheus.Registerer, now func() time.Time) (*Log, error) {
	l := &Log{
		Log: log, now: now, groups: map[follower]bool{},
		append: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "segue_event_append_seconds", Help: "Time until appended events were durable.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"topic"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_event_appended_total", Help: "Events made durable.",
		}, []string{"topic"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_event_appended_bytes_total", Help: "Bytes of keys, values and headers made durable.",
		}, []string{"topic"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_event_append_failures_total", Help: "Appends that failed, by what failed; cancelled is the caller's wish.",
		}, []string{"cause"}),
		failed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "segue_event_log_failed", Help: "1 once the log can promise nothing any more and the process has to start anew.",
		}),
		lag: prometheus.NewDesc("segue_event_consumer_lag_events", "Events that a consumer group has not worked off.", []string{"group", "topic"}, nil),
		age: prometheus.NewDesc("segue_event_consumer_lag_seconds", "Age of the oldest event that a consumer group has not worked off, 0 where there is none.",
			[]string{"group", "topic"}, nil),
	}
	for _, cause := range causes() {
		l.failures.WithLabelValues(cause)
	}
	for _, c := range []prometheus.Collector{l.append, l.events, l.bytes, l.failures, l.failed, (*lags)(l)} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register event log metrics: %w", err)
		}
	}
	return l, nil
}

func causes() []string {
	return []string{"failed", "closed", "too_large", "topic", "cancelled", "other"}
}

func causeOf(err error) string {
	switch {
	case errors.Is(err, event.ErrFailed):
		return "failed"
	case errors.Is(err, event.ErrClosed):
		return "closed"
	case errors.Is(err, event.ErrTooLarge):
		return "too_large"
	case errors.Is(err, event.ErrTopic):
		return "topic"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	}
	return "other"
}

// Append implements [event.Log].
func (l *Log) Append(ctx context.Context, recs ...event.Record) error {
	start := time.Now()
	if err := l.Log.Append(ctx, recs...); err != nil {
		l.failures.WithLabelValues(causeOf(err)).Inc()
		if errors.Is(err, event.ErrFailed) {
			l.failed.Set(1)
		}
		return err
	}
	took := time.Since(start).Seconds()
	for from := 0; from < len(recs); {
		// One label lookup for a run of one topic: batches are of one topic nearly always.
		topic, to, bytes := recs[from].Topic, from, 0
		for ; to < len(recs) && recs[to].Topic == topic; to++ {
			bytes += len(recs[to].Key) + len(recs[to].Value)
			for _, h := range recs[to].Headers {
				bytes += len(h.Name) + len(h.Value)
			}
		}
		l.append.WithLabelValues(topic).Observe(took)
		l.events.WithLabelValues(topic).Add(float64(to - from))
		l.bytes.WithLabelValues(topic).Add(float64(bytes))
		from = to
	}
	return nil
}

// Consume implements [event.Log].
func (l *Log) Consume(ctx context.Context, group string, topics []string, handle event.Handler) error {
	for _, t := range topics {
		l.follows(group, t)
	}
	return l.Log.Consume(ctx, group, topics, handle)
}

// Committed implements [event.Log]. Who asks where to go on is a reader, too: the
// warehouse reads by itself.
func (l *Log) Committed(ctx context.Context, group, topic string, partition int32) (int64, error) {
	at, err := l.Log.Committed(ctx, group, topic, partition)
	if err == nil {
		l.follows(group, topic)
	}
	return at, err
}

func (l *Log) follows(group, topic string) {
	if _, ok := event.Lookup(topic); !ok || event.CheckGroup(group) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups[follower{group, topic}] = true
}

func (l *Log) followers() []follower {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]follower, 0, len(l.groups))
	for f := range l.groups {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b follower) int { return strings.Compare(a.group+" "+a.topic, b.group+" "+b.topic) })
	return out
}

const (
	// lagLimit bounds what a scrape waits for the log.
	lagLimit = 3 * time.Second
	// lagAtOnce is how many groups are asked about at a time.
	lagAtOnce = 8
)

// lags asks for the lag of every follower at each scrape.
type lags Log

func (l *lags) Describe(ch chan<- *prometheus.Desc) { ch <- l.lag; ch <- l.age }

func (l *lags) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lagLimit)
	defer cancel()
	slots := make(chan struct{}, lagAtOnce)
	var wg sync.WaitGroup
	for _, f := range (*Log)(l).followers() {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			events, oldest, err := behind(ctx, l.Log, f)
			if err != nil {
				return // no figure is the truth; readiness says that the log does not answer
			}
			age := 0.0
			if !oldest.IsZero() {
				age = max(0, l.now().Sub(oldest).Seconds())
			}
			ch <- prometheus.MustNewConstMetric(l.lag, prometheus.GaugeValue, float64(events), f.group, f.topic)
			ch <- prometheus.MustNewConstMetric(l.age, prometheus.GaugeValue, age, f.group, f.topic)
		})
	}
	wg.Wait()
}

// behind is how many events a follower has not committed, and the time of the oldest.
func behind(ctx context.Context, log event.Log, f follower) (events int64, oldest time.Time, err error) {
	err = event.Uncommitted(ctx, log, f.group, f.topic, func(p int32, from, next int64) error {
		events += next - from
		for rec, err := range log.Read(ctx, f.topic, p, from, false) {
			if err != nil {
				return err
			}
			if oldest.IsZero() || rec.Time.Before(oldest) {
				oldest = rec.Time
			}
			break
		}
		return nil
	})
	return events, oldest, err
}
