package pgdb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrTxDone is returned by a Tx that was kept after its function returned.
var ErrTxDone = errors.New("transaction function has returned")

// ErrStatement refuses a statement that would end the transaction.
var ErrStatement = errors.New("statement is not allowed in a write")

// Queryer reads: a connection of [DB.Read], or a write.
type Queryer interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

// Tx is what a function of [DB.Write] works on, READ COMMITTED: each statement sees what
// was committed before it, and a row is locked by SELECT … FOR UPDATE or by changing it.
// It is not for concurrent use.
type Tx struct {
	conn  *pgx.Conn
	hooks []func()
	err   error
	done  bool
}

var _ Queryer = (*Tx)(nil)

// Exec runs a statement.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	if err := t.check(query); err != nil {
		return pgconn.CommandTag{}, err
	}
	return t.conn.Exec(ctx, query, args...)
}

// Query runs a query, whose rows are to be read or closed before the next statement.
func (t *Tx) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	if err := t.check(query); err != nil {
		return nil, err
	}
	return t.conn.Query(ctx, query, args...)
}

// QueryRow runs a query for at most one row.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	if err := t.check(query); err != nil {
		return failedRow{err}
	}
	return t.conn.QueryRow(ctx, query, args...)
}

// Batch runs statements that do not depend on each other's results in one round trip. It
// stops at the first that fails.
func (t *Tx) Batch(ctx context.Context, b *pgx.Batch) error {
	for _, q := range b.QueuedQueries {
		if err := t.check(q.SQL); err != nil {
			return err
		}
	}
	return t.conn.SendBatch(ctx, b).Close()
}

// OnCommit runs fn after the change is durable, before Write returns. fn must be quick
// and must not use the database; it does not run when the change is rolled back.
func (t *Tx) OnCommit(fn func()) { t.hooks = append(t.hooks, fn) }

func (t *Tx) check(query string) error {
	if t.done {
		return ErrTxDone
	}
	word, _, _ := strings.Cut(strings.TrimLeft(query, " \t\r\n;"), " ")
	switch strings.ToUpper(strings.TrimRight(word, ";\r\n\t")) {
	case "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "PREPARE":
		// Remembered, so that a function that ignores the error does not commit half.
		t.err = fmt.Errorf("%w: %s", ErrStatement, word)
		return t.err
	}
	return nil
}

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }
