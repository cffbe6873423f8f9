package sqlitebox_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/outboxtest"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// source breaks a promise of outbox.Source with what is not nil.
type source struct {
	outbox.Source
	take   func(ctx context.Context, limit int, publish func(context.Context, outbox.Batch) error) (outbox.Taken, error)
	woken  <-chan struct{}
	forget func(context.Context) error
}

func (s source) Take(ctx context.Context, limit int, publish func(context.Context, outbox.Batch) error) (outbox.Taken, error) {
	if s.take == nil {
		return s.Source.Take(ctx, limit, publish)
	}
	return s.take(ctx, limit, publish)
}

func (s source) Woken() <-chan struct{} {
	if s.woken == nil {
		return s.Source.Woken()
	}
	return s.woken
}

func (s source) Forget(ctx context.Context) error {
	if s.forget == nil {
		return s.Source.Forget(ctx)
	}
	return s.forget(ctx)
}

// publishing breaks Take by what publish is given or said to have done.
func publishing(o outboxtest.Opened, how func(publish func(outbox.Batch) error, b outbox.Batch) error) outboxtest.Opened {
	real := o.Source
	o.Source = source{Source: real, take: func(ctx context.Context, limit int, publish func(context.Context, outbox.Batch) error) (outbox.Taken, error) {
		return real.Take(ctx, limit, func(ctx context.Context, b outbox.Batch) error {
			return how(func(b outbox.Batch) error { return publish(ctx, b) }, b)
		})
	}}
	return o
}

// writing breaks changes.
func writing(o outboxtest.Opened, how func(outboxtest.Tx) outboxtest.Tx) outboxtest.Opened {
	write := o.Write
	o.Write = func(ctx context.Context, fn func(outboxtest.Tx) error) error {
		return write(ctx, func(tx outboxtest.Tx) error { return fn(how(tx)) })
	}
	return o
}

// lax takes every revision.
type lax struct{ outboxtest.Tx }

func (l lax) Add(ctx context.Context, topic, key string, env *eventv1.Envelope) error {
	if err := l.Tx.Add(ctx, topic, key, env); !errors.Is(err, outbox.ErrRevision) {
		return err
	}
	return nil
}

// deaf drops events.
type deaf struct{ outboxtest.Tx }

func (deaf) Add(context.Context, string, string, *eventv1.Envelope) error { return nil }

// doubling writes each event twice.
type doubling struct{ outboxtest.Tx }

func (d doubling) Add(ctx context.Context, topic, key string, env *eventv1.Envelope) error {
	return errors.Join(d.Tx.Add(ctx, topic, key, env), d.Tx.Add(ctx, topic, key, env))
}

// eager does the change of every call.
type eager struct{ outboxtest.Tx }

func (eager) Once(_ context.Context, _, _ string, _ []byte, do func() ([]byte, error)) ([]byte, error) {
	return do()
}

// trusting does not look whether the request is the same.
type trusting struct{ outboxtest.Tx }

func (t trusting) Once(ctx context.Context, caller, key string, _ []byte, do func() ([]byte, error)) ([]byte, error) {
	return t.Tx.Once(ctx, caller, key, nil, do)
}

// sharing has one key for all callers.
type sharing struct{ outboxtest.Tx }

func (s sharing) Once(ctx context.Context, _, key string, request []byte, do func() ([]byte, error)) ([]byte, error) {
	return s.Tx.Once(ctx, "everyone", key, request, do)
}

func TestChecks_FailOn(t *testing.T) {
	for name, breaks := range map[string]func(outboxtest.Opened) outboxtest.Opened{
		"drop_batch": func(o outboxtest.Opened) outboxtest.Opened {
			return publishing(o, func(func(outbox.Batch) error, outbox.Batch) error { return nil })
		},
		"drop_what_fails": func(o outboxtest.Opened) outboxtest.Opened {
			return publishing(o, func(publish func(outbox.Batch) error, b outbox.Batch) error {
				_ = publish(b)
				return nil
			})
		},
		"double_batch": func(o outboxtest.Opened) outboxtest.Opened {
			return publishing(o, func(publish func(outbox.Batch) error, b outbox.Batch) error {
				b.Records, b.Traces = append(b.Records, b.Records...), append(b.Traces, b.Traces...)
				return publish(b)
			})
		},
		"reorder": func(o outboxtest.Opened) outboxtest.Opened {
			return publishing(o, func(publish func(outbox.Batch) error, b outbox.Batch) error {
				slices.Reverse(b.Records)
				return publish(b)
			})
		},
		"lose_traces": func(o outboxtest.Opened) outboxtest.Opened {
			return publishing(o, func(publish func(outbox.Batch) error, b outbox.Batch) error {
				b.Traces = nil
				return publish(b)
			})
		},
		"no_key": func(o outboxtest.Opened) outboxtest.Opened {
			return publishing(o, func(publish func(outbox.Batch) error, b outbox.Batch) error {
				b.Records = slices.Clone(b.Records)
				for i := range b.Records {
					b.Records[i] = event.Record{Topic: b.Records[i].Topic, Value: b.Records[i].Value}
				}
				return publish(b)
			})
		},
		"no_limit": func(o outboxtest.Opened) outboxtest.Opened {
			real := o.Source
			o.Source = source{Source: real, take: func(ctx context.Context, _ int, publish func(context.Context, outbox.Batch) error) (outbox.Taken, error) {
				return real.Take(ctx, 1<<20, publish)
			}}
			return o
		},
		"never_wakes": func(o outboxtest.Opened) outboxtest.Opened {
			o.Source = source{Source: o.Source, woken: make(chan struct{})}
			return o
		},
		"keeps_replies": func(o outboxtest.Opened) outboxtest.Opened {
			o.Source = source{Source: o.Source, forget: func(context.Context) error { return nil }}
			return o
		},
		"commit_what_failed": func(o outboxtest.Opened) outboxtest.Opened {
			write := o.Write
			o.Write = func(ctx context.Context, fn func(outboxtest.Tx) error) (failed error) {
				err := write(ctx, func(tx outboxtest.Tx) error { failed = fn(tx); return nil })
				return errors.Join(failed, err)
			}
			return o
		},
		"any_revision": func(o outboxtest.Opened) outboxtest.Opened {
			return writing(o, func(t outboxtest.Tx) outboxtest.Tx { return lax{t} })
		},
		"drop_events": func(o outboxtest.Opened) outboxtest.Opened {
			return writing(o, func(t outboxtest.Tx) outboxtest.Tx { return deaf{t} })
		},
		"double_events": func(o outboxtest.Opened) outboxtest.Opened {
			return writing(o, func(t outboxtest.Tx) outboxtest.Tx { return doubling{t} })
		},
		"no_once": func(o outboxtest.Opened) outboxtest.Opened {
			return writing(o, func(t outboxtest.Tx) outboxtest.Tx { return eager{t} })
		},
		"any_request": func(o outboxtest.Opened) outboxtest.Opened {
			return writing(o, func(t outboxtest.Tx) outboxtest.Tx { return trusting{t} })
		},
		"one_key_for_all": func(o outboxtest.Opened) outboxtest.Opened {
			return writing(o, func(t outboxtest.Tx) outboxtest.Tx { return sharing{t} })
		},
		"clock_that_stops": func(o outboxtest.Opened) outboxtest.Opened { o.Advance = func(time.Duration) {}; return o },
	} {
		t.Run(name, func(t *testing.T) {
			var failed []string
			for _, c := range outboxtest.Checks() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				if err := c.Run(ctx, breaks(open(t))); err != nil {
					failed = append(failed, c.Name)
				}
				cancel()
			}
			if len(failed) == 0 {
				t.Error("every check passes on an outbox that breaks its promises")
			}
			t.Log("fails:", failed)
		})
	}
}
