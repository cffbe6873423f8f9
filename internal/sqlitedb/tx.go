package sqlitedb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// ErrTxDone is returned by a Tx that was kept after its function returned.
var ErrTxDone = errors.New("transaction function has returned")

// ErrStatement refuses a statement that would end or change the group's transaction.
var ErrStatement = errors.New("statement is not allowed in a write")

// Tx is what a function of [DB.Write] works on. It is not for concurrent use.
//
// A context that ends stops the function before its next statement, never within one:
// SQLite answers an interrupted change by rolling back the whole transaction, and with
// it the changes of other callers.
type Tx struct {
	tx    *sql.Tx
	hooks []func()
	rows  []*sql.Rows
	err   error
	done  bool
}

// ExecContext runs a statement.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := t.check(ctx, query); err != nil {
		return nil, err
	}
	return t.tx.ExecContext(context.WithoutCancel(ctx), query, args...)
}

// QueryContext runs a query. Rows still open when the function returns are closed.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := t.check(ctx, query); err != nil {
		return nil, err
	}
	rows, err := t.tx.QueryContext(context.WithoutCancel(ctx), query, args...)
	if err == nil {
		t.rows = append(t.rows, rows)
	}
	return rows, err
}

// QueryRowContext runs a query for at most one row.
func (t *Tx) QueryRowContext(ctx context.Context, query string, args ...any) Row {
	rows, err := t.QueryContext(ctx, query, args...) //nolint:rowserrcheck // Row.Scan does
	return Row{rows: rows, err: err}
}

// OnCommit runs fn after the change is durable, before Write returns. fn must be quick
// and must not use the database; it does not run when the change is rolled back.
func (t *Tx) OnCommit(fn func()) { t.hooks = append(t.hooks, fn) }

func (t *Tx) check(ctx context.Context, query string) error {
	if t.done {
		return ErrTxDone
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	word, _, _ := strings.Cut(strings.TrimLeft(query, " \t\r\n;"), " ")
	switch strings.ToUpper(strings.TrimRight(word, ";\r\n\t")) {
	case "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA", "ATTACH", "DETACH", "VACUUM":
		// Remembered, so that a function that ignores the error does not commit half.
		t.err = fmt.Errorf("%w: %s", ErrStatement, word)
		return t.err
	}
	return nil
}

func (t *Tx) failed() error { return t.err }

func (t *Tx) close() {
	t.done = true
	for _, r := range t.rows {
		_ = r.Close() // its error was the function's to look at
	}
}

// Row is the result of [Tx.QueryRowContext].
type Row struct {
	rows *sql.Rows
	err  error
}

// Scan copies the row's columns; sql.ErrNoRows when there was none.
func (r Row) Scan(dest ...any) (err error) {
	if r.err != nil {
		return r.err
	}
	defer func() { err = errors.Join(err, r.rows.Close()) }()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	return r.rows.Scan(dest...)
}
