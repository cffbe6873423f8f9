// Package sqlitebox is the embedded half of the outbox: tables in the SQLite file of a
// store, which one process has for itself.
package sqlitebox

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/sqlitedb"
)

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
	outbox.Local
	db *sqlitedb.DB
}

var _ outbox.Source = (*Outbox)(nil)

// New makes the outbox of owner on its database, which has [Schema].
func New(db *sqlitedb.DB, owner event.Owner) *Outbox {
	return &Outbox{Local: outbox.NewLocal(owner), db: db}
}

// Add writes an event with the change that tx makes. key orders it in the topic. The
// revision is that of env.Subject after the change; several events may share one. An
// event without a trace id gets that of ctx.
func (o *Outbox) Add(ctx context.Context, tx *sqlitedb.Tx, topic, key string, env *eventv1.Envelope) error {
	r, err := outbox.NewRow(ctx, o.Owner(), topic, key, env)
	if err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	var later bool
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM outbox WHERE topic = ? AND subject = ? AND revision > ?)`,
		r.Topic, r.Subject, r.Revision).Scan(&later)
	if err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	if later {
		return fmt.Errorf("add to outbox: %s at %d: %w", r.Subject, r.Revision, outbox.ErrRevision)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (topic, key, subject, revision, value, trace) VALUES (?, ?, ?, ?, ?, ?)`,
		r.Topic, r.Key, r.Subject, r.Revision, r.Value, r.Trace)
	if err != nil {
		return fmt.Errorf("add to outbox: %w", err)
	}
	tx.OnCommit(o.Wake)
	return nil
}

// Now implements outbox.Source.
func (o *Outbox) Now() time.Time { return o.db.Now() }

// Pending implements outbox.Source.
func (o *Outbox) Pending(ctx context.Context) (n int64, err error) {
	if err := o.db.Reader().QueryRowContext(ctx, `SELECT count(*) FROM outbox`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count outbox: %w", err)
	}
	return n, nil
}

// Oldest implements outbox.Source.
func (o *Outbox) Oldest(ctx context.Context) (value []byte, err error) {
	err = o.db.Reader().QueryRowContext(ctx, `SELECT value FROM outbox ORDER BY seq LIMIT 1`).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read oldest of outbox: %w", err)
	}
	return value, nil
}

// Take implements outbox.Source. The lock on the data folder sees to it that no other
// process is here.
func (o *Outbox) Take(ctx context.Context, limit int, publish func(context.Context, outbox.Batch) error) (outbox.Taken, error) {
	b, last, err := o.next(ctx, limit)
	if err != nil {
		return outbox.Taken{}, fmt.Errorf("read outbox: %w", err)
	}
	if len(b.Records) == 0 {
		return outbox.Taken{}, nil
	}
	if err := publish(ctx, b); err != nil {
		return outbox.Taken{}, err
	}
	err = o.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM outbox WHERE seq <= ?`, last)
		return err
	})
	if err != nil {
		return outbox.Taken{}, fmt.Errorf("clear outbox: %w", closed(err))
	}
	return outbox.Taken{Events: len(b.Records)}, nil
}

// next reads the oldest events. One writer commits in the order of seq, so nothing with
// a lower one can appear later.
func (o *Outbox) next(ctx context.Context, limit int) (b outbox.Batch, last int64, err error) {
	rows, err := o.db.Reader().QueryContext(ctx, `SELECT seq, topic, key, value, trace FROM outbox ORDER BY seq LIMIT ?`, limit)
	if err != nil {
		return b, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var rec event.Record
		var from string
		if err := rows.Scan(&last, &rec.Topic, &rec.Key, &rec.Value, &from); err != nil {
			return b, 0, err
		}
		b.Records, b.Traces = append(b.Records, rec), append(b.Traces, from)
	}
	return b, last, rows.Err()
}

// closed gives an error of a closed database the name that the relay knows.
func closed(err error) error {
	if errors.Is(err, sqlitedb.ErrClosed) {
		return fmt.Errorf("%w: %w", outbox.ErrClosed, err)
	}
	return err
}
