// Package outboxtest checks that an engine's half of the outbox keeps the promises of
// outbox.Source, and those of the events and replies that are written with a change. It
// is ordinary code, so that the suite itself can be tested on halves that break one.
package outboxtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// Tx is a change under way, with what an engine writes into it.
type Tx interface {
	Add(ctx context.Context, topic, key string, env *eventv1.Envelope) error
	Once(ctx context.Context, caller, key string, request []byte, do func() ([]byte, error)) ([]byte, error)
}

// Opened is an empty outbox of event.OwnerUpload.
type Opened struct {
	Source outbox.Source
	// Write makes a change: it commits where fn returns nil and has no effect otherwise.
	Write func(ctx context.Context, fn func(Tx) error) error
	// Advance moves the clock of the database.
	Advance func(d time.Duration)
	// Replies is the number of replies that are kept.
	Replies func(ctx context.Context) (int, error)
}

// Check is one promise; Run returns an error where the outbox breaks it.
type Check struct {
	Name string
	Run  func(ctx context.Context, o Opened) error
}

// Checks are all promises of an engine with transactions.
func Checks() []Check {
	return append(SourceChecks(), []Check{
		{"revision_back", revisionBack},
		{"once", once},
		{"once_race", onceRace},
		{"forget", forget},
	}...)
}

// SourceChecks are the promises of every engine. One that changes an entity by
// compare-and-set of a version has no revision that could go back, and finds an earlier
// call by the version too.
func SourceChecks() []Check {
	return []Check{
		{"add", add},
		{"add_refused", addRefused},
		{"order", order},
		{"order_under_way", orderUnderWay},
		{"publish_fails", publishFails},
		{"wakes", wakes},
		{"backlog", backlog},
	}
}

const limit = time.Minute

// Run runs every check as a subtest on an outbox of its own.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	t.Helper()
	RunChecks(t, Checks(), open)
}

// RunChecks is Run of a list of checks.
func RunChecks(t *testing.T, checks []Check, open func(t *testing.T) Opened) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := c.Run(ctx, open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Envelope is an event of a subject; rev makes its id too.
func Envelope(subject string, rev int) *eventv1.Envelope {
	e, err := event.New(fmt.Sprintf("%022d", rev), time.Unix(1, 0), subject, uint64(rev), &eventv1.UploadStarted{Source: "tus"})
	if err != nil {
		panic(err) // the arguments are constants of this package
	}
	return e
}

// commit makes a change with one event.
func commit(ctx context.Context, o Opened, subject string, rev int) error {
	return o.Write(ctx, func(tx Tx) error { return tx.Add(ctx, event.Upload, subject, Envelope(subject, rev)) })
}

// seen is a published event.
type seen struct {
	Subject  string
	Revision uint64
}

func read(b outbox.Batch) (out []seen, err error) {
	if len(b.Traces) != len(b.Records) {
		return nil, fmt.Errorf("%d traces of %d records", len(b.Traces), len(b.Records))
	}
	for _, r := range b.Records {
		e, err := event.Unmarshal(r.Value)
		if err != nil {
			return nil, err
		}
		if r.Topic != event.Upload || string(r.Key) != e.GetSubject() {
			return nil, fmt.Errorf("record of topic %q with key %q", r.Topic, r.Key)
		}
		out = append(out, seen{e.GetSubject(), e.GetRevision()})
	}
	return out, nil
}

const batch = 50

// drain takes until nothing waits, while nobody writes, and gives what was published.
// Where the outbox says that it wants to be asked again while events wait, it is.
func drain(ctx context.Context, o Opened) (all []seen, err error) {
	for {
		got, again, err := takeRipe(ctx, o)
		if all = append(all, got...); err != nil {
			return all, err
		}
		n, err := o.Source.Pending(ctx)
		if err != nil || n == 0 {
			return all, err
		}
		if again <= 0 {
			return all, fmt.Errorf("%d events wait and it does not want to be asked again", n)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
}

// takeRipe takes until the outbox gives no more, and tells when it wants to be asked again.
func takeRipe(ctx context.Context, o Opened) (all []seen, again time.Duration, err error) {
	for {
		var got []seen
		t, err := o.Source.Take(ctx, batch, func(_ context.Context, b outbox.Batch) (err error) {
			if len(b.Records) == 0 || len(b.Records) > batch {
				return fmt.Errorf("a batch of %d events, want at most %d", len(b.Records), batch)
			}
			got, err = read(b)
			return err
		})
		if err != nil {
			return all, 0, err
		}
		if t.Events != len(got) {
			return all, 0, fmt.Errorf("%d events published and %d taken out", len(got), t.Events)
		}
		if all = append(all, got...); t.Events == 0 {
			return all, t.Again, nil
		}
	}
}

func diff(what string, want, got any) error {
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		return fmt.Errorf("%s (-want +got):\n%s", what, d)
	}
	return nil
}

func wantErr(what string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: error %v, want %w", what, err, want)
	}
	return nil
}

func wantPending(ctx context.Context, o Opened, want int64) error {
	n, err := o.Source.Pending(ctx)
	if err != nil {
		return err
	}
	return diff("pending", want, n)
}
