// Package pgbox is the half of the outbox that lies in PostgreSQL: tables in the schema
// of a service, which the processes of that service share.
package pgbox

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/pgdb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema are the tables, to be put into pgdb.Schema.Modules.
func Schema() (pgdb.Module, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return pgdb.Module{}, fmt.Errorf("outbox schema: %w", err)
	}
	return pgdb.Module{Name: "outbox", Migrations: files}, nil
}

// Outbox of one service in one process. Make one per database: it is what wakes its relay.
type Outbox struct {
	outbox.Local
	db *pgdb.DB
}

var _ outbox.Source = (*Outbox)(nil)

// New makes the outbox of owner on its database, which has [Schema].
func New(db *pgdb.DB, owner event.Owner) *Outbox {
	return &Outbox{Local: outbox.NewLocal(owner), db: db}
}

// Add writes an event with the change that tx makes. key orders it in the topic. The
// revision is that of env.Subject after the change, whose row tx has locked by now: that
// is what puts events of one subject in order. Several may share a revision. An event
// without a trace id gets that of ctx.
func (o *Outbox) Add(ctx context.Context, tx *pgdb.Tx, topic, key string, env *eventv1.Envelope) error {
	r, err := outbox.NewRow(ctx, o.Owner(), topic, key, env)
	if err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	tag, err := tx.Exec(ctx, `INSERT INTO outbox (topic, key, subject, revision, value, trace)
		SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE topic = $1 AND subject = $3 AND revision > $4)`,
		r.Topic, r.Key, r.Subject, r.Revision, r.Value, r.Trace)
	if err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("add to outbox: %s at %d: %w", r.Subject, r.Revision, outbox.ErrRevision)
	}
	tx.OnCommit(o.Wake)
	return nil
}

// Now implements outbox.Source.
func (o *Outbox) Now() time.Time { return o.db.Now() }

// Pending implements outbox.Source.
func (o *Outbox) Pending(ctx context.Context) (n int64, err error) {
	err = o.db.Read(ctx, func(q pgdb.Queryer) error { return q.QueryRow(ctx, `SELECT count(*) FROM outbox`).Scan(&n) })
	if err != nil {
		return 0, fmt.Errorf("count outbox: %w", closed(err))
	}
	return n, nil
}

// Oldest implements outbox.Source.
func (o *Outbox) Oldest(ctx context.Context) (value []byte, err error) {
	err = o.db.Read(ctx, func(q pgdb.Queryer) error {
		value = nil
		return q.QueryRow(ctx, `SELECT value FROM outbox ORDER BY seq LIMIT 1`).Scan(&value)
	})
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("read oldest of outbox: %w", closed(err))
	}
	return value, nil
}

const (
	// turnWait is how long a relay waits for that of another process before it looks
	// whether it is to end.
	turnWait = time.Second
	// busyAgain is when it tries again after that, and held when events wait for an older
	// transaction, which takes milliseconds.
	busyAgain = 10 * time.Millisecond
	held      = 5 * time.Millisecond
	// leftBehind is how often it looks for what a process wrote that ended before it could
	// publish it.
	leftBehind = time.Second
)

// Take implements outbox.Source. The turn is one of the database, which ends with the
// transaction that takes the events out. Where the database itself is lost in a turn,
// another one may begin before publish has heard of it: both then have the same oldest
// events in the same order, so that what the log has not seen yet still comes in order.
func (o *Outbox) Take(ctx context.Context, limit int, publish func(context.Context, outbox.Batch) error) (taken outbox.Taken, err error) {
	err = o.db.Turn(ctx, pgdb.LockOutbox, turnWait, func(ctx context.Context, tx *pgdb.Tx) error {
		b, seqs, err := next(ctx, tx, limit)
		if err != nil {
			return fmt.Errorf("read outbox: %w", err)
		}
		if len(seqs) == 0 {
			taken, err = rest(ctx, tx)
			return err
		}
		if err := publish(ctx, b); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM outbox WHERE seq = ANY ($1)`, seqs); err != nil {
			return fmt.Errorf("clear outbox: %w", err)
		}
		taken = outbox.Taken{Events: len(seqs)}
		return nil
	})
	switch {
	case errors.Is(err, pgdb.ErrBusy):
		return outbox.Taken{Again: busyAgain}, nil
	case err != nil:
		return outbox.Taken{}, closed(err)
	}
	return taken, nil
}

// ripe are the events of transactions that are older than every one that is still open:
// nothing can appear before them any more. The numbers of transactions do not follow the
// order in which they got the lock on a subject, so an event also waits for those of its
// subject that were added before it and are not ripe.
const ripe = `xid < pg_snapshot_xmin(pg_current_snapshot()) AND NOT EXISTS (SELECT 1 FROM outbox AS before
	WHERE before.topic = o.topic AND before.subject = o.subject AND before.seq < o.seq
	AND before.xid >= pg_snapshot_xmin(pg_current_snapshot()))`

// next reads the oldest events that are ripe.
func next(ctx context.Context, tx *pgdb.Tx, limit int) (b outbox.Batch, seqs []int64, err error) {
	rows, err := tx.Query(ctx, `SELECT seq, topic, key, value, trace FROM outbox AS o WHERE `+ripe+` ORDER BY seq LIMIT $1`, limit)
	if err != nil {
		return b, nil, err
	}
	var seq int64
	var rec event.Record
	var key, from string
	_, err = pgx.ForEachRow(rows, []any{&seq, &rec.Topic, &key, &rec.Value, &from}, func() error {
		r := event.Record{Topic: rec.Topic, Key: []byte(key), Value: rec.Value}
		rec.Value = nil // the next row's own
		b.Records, b.Traces, seqs = append(b.Records, r), append(b.Traces, from), append(seqs, seq)
		return nil
	})
	return b, seqs, err
}

// rest says when to look again where nothing is ripe.
func rest(ctx context.Context, tx *pgdb.Tx) (outbox.Taken, error) {
	var more bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM outbox)`).Scan(&more); err != nil {
		return outbox.Taken{}, fmt.Errorf("read outbox: %w", err)
	}
	if more {
		return outbox.Taken{Again: held}, nil
	}
	return outbox.Taken{Again: leftBehind}, nil
}

// closed gives an error of a closed database the name that the relay knows.
func closed(err error) error {
	if errors.Is(err, pgdb.ErrClosed) {
		return fmt.Errorf("%w: %w", outbox.ErrClosed, err)
	}
	return err
}
