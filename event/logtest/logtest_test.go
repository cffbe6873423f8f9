package logtest_test

import (
	"context"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/logtest"
)

// altered changes what is appended.
type altered struct {
	event.Log
	change func([]event.Record) []event.Record
}

func (a altered) Append(ctx context.Context, recs ...event.Record) error {
	for _, r := range recs { // an honest log refuses these before it stores anything
		if err := r.Check(); err != nil {
			return err
		}
	}
	return a.Log.Append(ctx, a.change(slices.Clone(recs))...)
}

// delayed holds one record back until the next call.
type delayed struct {
	event.Log
	mu   sync.Mutex
	held []event.Record
}

func (d *delayed) Append(ctx context.Context, recs ...event.Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(recs) == 0 {
		return nil
	}
	if d.held == nil {
		d.held = recs
		return nil
	}
	out := append(slices.Clone(recs), d.held...)
	d.held = nil
	return d.Log.Append(ctx, out...)
}

// forgetful commits nothing.
type forgetful struct{ event.Log }

func (forgetful) Commit(context.Context, string, string, int32, int64) error { return nil }

// impatient does not follow.
type impatient struct{ event.Log }

func (i impatient) Read(ctx context.Context, topic string, p int32, from int64, _ bool) iter.Seq2[event.Record, error] {
	return i.Log.Read(ctx, topic, p, from, false)
}

// skipping handles only every other record.
type skipping struct{ event.Log }

func (s skipping) Consume(ctx context.Context, group string, topics []string, handle event.Handler) error {
	n := 0
	return s.Log.Consume(ctx, group, topics, func(ctx context.Context, r event.Record) error {
		if n++; n%2 == 0 {
			return nil
		}
		return handle(ctx, r)
	})
}

// greedy gives every partition to everybody.
type greedy struct{ event.Log }

func (g greedy) Divide(ctx context.Context, group string, topics []string, work func(context.Context, event.Portion) error) error {
	for _, t := range topics {
		if _, err := g.Partitions(ctx, t); err != nil {
			return err
		}
		p := event.Portion{Topic: t, Commit: func(ctx context.Context, next int64) error { return g.Commit(ctx, group, t, 0, next) }}
		if err := work(ctx, p); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestChecks_FailOn(t *testing.T) {
	change := func(f func([]event.Record) []event.Record) func(event.Log) event.Log {
		return func(l event.Log) event.Log { return altered{l, f} }
	}
	var mu sync.Mutex
	n := 0
	cases := map[string]func(event.Log) event.Log{
		"drop": change(func(r []event.Record) []event.Record {
			mu.Lock()
			defer mu.Unlock()
			if n++; n%5 == 0 {
				return nil
			}
			return r
		}),
		"double":  change(func(r []event.Record) []event.Record { return append(r, r...) }),
		"reorder": change(func(r []event.Record) []event.Record { slices.Reverse(r); return r }),
		"tear": change(func(r []event.Record) []event.Record {
			for i := range r {
				r[i].Value = r[i].Value[:len(r[i].Value)/2]
			}
			return r
		}),
		"lose_headers": change(func(r []event.Record) []event.Record {
			for i := range r {
				r[i].Headers = nil
			}
			return r
		}),
		"delay":     func(l event.Log) event.Log { return &delayed{Log: l} },
		"forget":    func(l event.Log) event.Log { return forgetful{l} },
		"impatient": func(l event.Log) event.Log { return impatient{l} },
		"skip":      func(l event.Log) event.Log { return skipping{l} },
		"greedy":    func(l event.Log) event.Log { return greedy{l} },
	}
	for name, wrap := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, c := range logtest.Checks() {
				l, err := locallog.Open(t.TempDir(), locallog.Options{})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				err = c.Run(ctx, wrap(l))
				cancel()
				if cerr := l.Close(); cerr != nil {
					t.Error(cerr)
				}
				if err != nil {
					return
				}
			}
			t.Error("every check passes on a log that breaks its promises")
		})
	}
}
