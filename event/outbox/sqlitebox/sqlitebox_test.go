package sqlitebox_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox/outboxtest"
	"github.com/segue-music/segue/event/outbox/sqlitebox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/sqlitedb"
)

// change is a transaction of the suite.
type change struct {
	box *sqlitebox.Outbox
	tx  *sqlitedb.Tx
}

func (c change) Add(ctx context.Context, topic, key string, env *eventv1.Envelope) error {
	return c.box.Add(ctx, c.tx, topic, key, env)
}

func (c change) Once(ctx context.Context, caller, key string, request []byte, do func() ([]byte, error)) ([]byte, error) {
	return c.box.Once(ctx, c.tx, caller, key, request, do)
}

func open(t *testing.T) outboxtest.Opened {
	t.Helper()
	schema, err := sqlitebox.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var now atomic.Int64
	now.Store(1_700_000_000)
	db, err := sqlitedb.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), sqlitedb.Options{
		Modules: []sqlitedb.Module{schema}, Now: func() time.Time { return time.Unix(now.Load(), 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	box := sqlitebox.New(db, event.OwnerUpload)
	return outboxtest.Opened{
		Source: box,
		Write: func(ctx context.Context, fn func(outboxtest.Tx) error) error {
			return db.Write(ctx, func(tx *sqlitedb.Tx) error { return fn(change{box, tx}) })
		},
		Advance: func(d time.Duration) { now.Add(int64(d / time.Second)) },
		Replies: func(ctx context.Context) (n int, err error) {
			err = db.Reader().QueryRowContext(ctx, `SELECT count(*) FROM idempotency`).Scan(&n)
			return n, err
		},
	}
}

func TestOutbox(t *testing.T) { outboxtest.Run(t, open) }
