// Package outbox publishes what a service changed: the event is written in the
// transaction of the change and a relay moves it to the log. Nothing is lost between
// the two and nothing is published that was rolled back; after a crash an event may be
// published twice, with the same id.
//
// What every engine does alike is here. The half that lies in a database is a [Source]:
// sqlitebox is the embedded one, and outboxtest holds all of them to the promises
// written here.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/span"
)

var (
	// ErrRevision refuses an event with a revision below one that waits already: the caller
	// did not take the revision in the transaction of the change.
	ErrRevision = errors.New("event revision goes back")
	// ErrClosed says that the database of an outbox was closed: nothing more comes of it.
	ErrClosed = errors.New("outbox is closed")
)

// Source is the outbox of a store as its relay sees it. All methods may be called
// concurrently.
type Source interface {
	// Owner is whose events these are.
	Owner() event.Owner
	// Take calls publish with the oldest events that wait, at most limit, and takes them out
	// when it returns nil; where it fails they stay, and Take returns its error. Events of
	// one subject are given in the order of its revisions, and none before all that were
	// committed earlier were taken out.
	//
	// Of several processes on one database one is in publish at a time, and ctx of publish
	// ends before another may begin. Should it publish later all the same, that repeats
	// what the log has.
	//
	// Where nothing waits publish is not called. [ErrClosed]: the database was closed.
	Take(ctx context.Context, limit int, publish func(context.Context, Batch) error) (Taken, error)
	// Woken gets a value after a commit of this process that has events.
	Woken() <-chan struct{}
	// Pending is the number of events that wait.
	Pending(ctx context.Context) (int64, error)
	// Oldest is the encoded envelope of the event that waits longest, nil where none does.
	Oldest(ctx context.Context) ([]byte, error)
	// Forget drops the replies that were kept for longer than [KeepReplies].
	Forget(ctx context.Context) error
	// Now is the clock of the database.
	Now() time.Time
}

// Local is what a [Source] of any engine has in its process. Make one per database: it is
// what wakes the relay.
type Local struct {
	owner event.Owner
	wake  chan struct{}
}

// NewLocal makes that of owner.
func NewLocal(owner event.Owner) Local { return Local{owner: owner, wake: make(chan struct{}, 1)} }

// Owner implements [Source].
func (l Local) Owner() event.Owner { return l.owner }

// Woken implements [Source].
func (l Local) Woken() <-chan struct{} { return l.wake }

// Wake is to be called after a commit that has events.
func (l Local) Wake() {
	select {
	case l.wake <- struct{}{}:
	default: // awake already
	}
}

// Batch is events that go to the log together.
type Batch struct {
	Records []event.Record
	// Traces are the spans that wrote the records, as W3C traceparents: as many as there
	// are records, empty where the trace is not kept.
	Traces []string
}

// Taken is what Take did.
type Taken struct {
	// Events were published and taken out. While there are any, more may wait.
	Events int
	// Again is when to look without being woken: another process may have committed, or an
	// event has to wait for an older transaction. 0 is never.
	Again time.Duration
}

// Row is an event as a database keeps it until it is published.
type Row struct {
	Topic, Key, Subject string
	// Revision is that of Subject after the change.
	Revision int64
	Value    []byte // the envelope
	Trace    string // the span that wrote it, as a traceparent; empty where none is kept
}

// NewRow checks and encodes an event of owner. key orders it in the topic; several events
// may share a revision. An event without a trace id gets that of ctx.
func NewRow(ctx context.Context, owner event.Owner, topic, key string, env *eventv1.Envelope) (Row, error) {
	if err := event.CheckOwner(owner, topic); err != nil {
		return Row{}, err
	}
	event.Trace(ctx, env)
	value, err := event.Marshal(env)
	if err != nil {
		return Row{}, err
	}
	if err := (event.Record{Topic: topic, Key: []byte(key), Value: value}).CheckSize(); err != nil {
		return Row{}, err
	}
	r := Row{Topic: topic, Key: key, Subject: env.GetSubject(), Revision: int64(env.GetRevision()), Value: value}
	if r.Revision < 0 {
		return Row{}, fmt.Errorf("%w: over 2^63", ErrRevision)
	}
	if trace.SpanFromContext(ctx).IsRecording() {
		r.Trace = span.Text(ctx)
	}
	return r, nil
}
