// Package outbox publishes what a service changed: the event is written in the
// transaction of the change and a relay moves it to the log. Nothing is lost between
// the two and nothing is published that was rolled back; after a crash an event may be
// published twice, with the same id.
package outbox

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/internal/sqlitedb"
)

// ErrRevision refuses an event with a revision below one that waits already: the caller
// did not take the revision in the transaction of the change.
var ErrRevision = errors.New("event revision goes back")

//go:embed migrations/*.sql
var migrations embed.FS

// Schema are the tables, to be put into sqlitedb.Options.Modules.
func Schema() (sqlitedb.Module, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return sqlitedb.Module{}, fmt.Errorf("outbox schema: %w", err)
	}
	return sqlitedb.Module{Name: "outbox", Migrations: files}, nil
}

// Outbox of one service. Make one per database: it is what wakes its relay.
type Outbox struct {
	db    *sqlitedb.DB
	owner event.Owner
	wake  chan struct{}
}

// New makes the outbox of owner on its database, which has [Schema].
func New(db *sqlitedb.DB, owner event.Owner) *Outbox {
	return &Outbox{db: db, owner: owner, wake: make(chan struct{}, 1)}
}

// Add writes an event with the change that tx makes. key orders it in the topic. The
// revision is that of env.Subject after the change; several events may share one. An
// event without a trace id gets that of ctx.
func (o *Outbox) Add(ctx context.Context, tx *sqlitedb.Tx, topic, key string, env *eventv1.Envelope) error {
	if err := event.CheckOwner(o.owner, topic); err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	event.Trace(ctx, env)
	value, err := event.Marshal(env)
	if err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	if err := (event.Record{Topic: topic, Key: []byte(key), Value: value}).CheckSize(); err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	rev := int64(env.GetRevision())
	if rev < 0 {
		return fmt.Errorf("add to outbox: %w: over 2^63", ErrRevision)
	}
	var later bool
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM outbox WHERE topic = ? AND subject = ? AND revision > ?)`,
		topic, env.GetSubject(), rev).Scan(&later)
	if err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	if later {
		return fmt.Errorf("add to outbox: %s at %d: %w", env.GetSubject(), rev, ErrRevision)
	}
	from := ""
	if trace.SpanFromContext(ctx).IsRecording() {
		from = span.Text(ctx)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (topic, key, subject, revision, value, trace) VALUES (?, ?, ?, ?, ?, ?)`,
		topic, key, env.GetSubject(), rev, value, from)
	if err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	tx.OnCommit(o.poke)
	return nil
}

func (o *Outbox) poke() {
	select {
	case o.wake <- struct{}{}:
	default: // awake already
	}
}

// Pending is the number of events that are not published yet.
func (o *Outbox) Pending(ctx context.Context) (n int64, err error) {
	if err := o.db.Reader().QueryRowContext(ctx, `SELECT count(*) FROM outbox`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count outbox: %w", err)
	}
	return n, nil
}

const (
	relayBatch = 256
	retryFirst = 50 * time.Millisecond
	retryMost  = 5 * time.Second
)

// Relay moves events of an outbox to the log. One runs per database; the lock on the
// data folder sees to that.
type Relay struct {
	box  *Outbox
	pub  *event.Publisher
	log  *slog.Logger
	done time.Time // when idempotency keys were last dropped

	tracer span.Tracer
	links  []trace.Link // to what wrote the events of the batch
}

// Trace sends a span for each batch with events of a trace that is kept. It is for
// before Run.
func (r *Relay) Trace(tp trace.TracerProvider) { r.tracer = span.NewTracer(tp) }

// linksMost bounds the links of a batch's span.
const linksMost = 32

// NewRelay makes the relay of an outbox.
func NewRelay(box *Outbox, log event.Log, logger *slog.Logger) *Relay {
	return &Relay{box: box, pub: event.NewPublisher(log, box.owner), log: logger}
}

// Run publishes until ctx ends, which is no error. It begins with what was left behind
// and is then woken by every commit. While the log is away it tries again, at most every
// 5 s; a log that has failed for good ends it with that error.
func (r *Relay) Run(ctx context.Context) error {
	wait := retryFirst
	for {
		err := r.drain(ctx)
		var retry <-chan time.Time
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // ctx has ended
		case errors.Is(err, event.ErrFailed), errors.Is(err, event.ErrClosed), errors.Is(err, sqlitedb.ErrClosed):
			return fmt.Errorf("relay outbox: %w", err)
		case err != nil:
			r.log.WarnContext(ctx, "outbox waits for the event log", "owner", r.box.owner, "retry", wait, "err", err)
			retry = time.After(wait)
			wait = min(2*wait, retryMost)
		default:
			wait = retryFirst
		}
		if retry != nil {
			select {
			case <-retry:
			case <-ctx.Done():
			}
			continue
		}
		select {
		case <-r.box.wake:
		case <-ctx.Done():
		}
	}
}

// drain publishes until the outbox is empty.
func (r *Relay) drain(ctx context.Context) error {
	for {
		recs, last, err := r.next(ctx)
		if err != nil {
			return fmt.Errorf("read outbox: %w", err)
		}
		if len(recs) == 0 {
			return r.forget(ctx)
		}
		if err := r.move(ctx, recs, last); err != nil {
			return err
		}
	}
}

// move publishes a batch and takes it out. It is no part of the requests that wrote the
// events, which did not wait for it, so its span links to theirs.
func (r *Relay) move(ctx context.Context, recs []event.Record, last int64) (err error) {
	if len(r.links) > 0 {
		var sp trace.Span
		ctx, sp = r.tracer.Start(ctx, "outbox relay", trace.WithNewRoot(), trace.WithLinks(r.links...), trace.WithAttributes(
			attribute.String("segue.owner", string(r.box.owner)), attribute.Int("segue.events", len(recs))))
		defer func() { span.End(sp, err) }()
	}
	if err := r.pub.Append(ctx, recs...); err != nil {
		return fmt.Errorf("publish outbox: %w", err)
	}
	err = r.box.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM outbox WHERE seq <= ?`, last)
		return err
	})
	if err != nil {
		return fmt.Errorf("clear outbox: %w", err)
	}
	return nil
}

// next reads the oldest events. One writer commits in the order of seq, so nothing with
// a lower one can appear later.
func (r *Relay) next(ctx context.Context) (recs []event.Record, last int64, err error) {
	rows, err := r.box.db.Reader().QueryContext(ctx,
		`SELECT seq, topic, key, value, trace FROM outbox ORDER BY seq LIMIT ?`, relayBatch)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	r.links = r.links[:0]
	for rows.Next() {
		var rec event.Record
		var from string
		if err := rows.Scan(&last, &rec.Topic, &rec.Key, &rec.Value, &from); err != nil {
			return nil, 0, err
		}
		if sc, ok := span.Parse(from); ok && r.tracer.On() && len(r.links) < linksMost {
			// Events of one change stand together.
			if l := (trace.Link{SpanContext: sc}); len(r.links) == 0 || !r.links[len(r.links)-1].SpanContext.Equal(sc) {
				r.links = append(r.links, l)
			}
		}
		recs = append(recs, rec)
	}
	return recs, last, rows.Err()
}

// forget drops idempotency keys that are over their time, once an hour.
func (r *Relay) forget(ctx context.Context) error {
	now := r.box.db.Now()
	if now.Sub(r.done) < time.Hour {
		return nil
	}
	err := r.box.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE created <= ?`, now.Add(-KeepReplies).Unix())
		return err
	})
	if err != nil {
		return fmt.Errorf("drop idempotency keys: %w", err)
	}
	r.done = now
	return nil
}
