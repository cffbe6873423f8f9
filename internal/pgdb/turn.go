package pgdb

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrBusy says that another process has had the turn for as long as one was ready to wait.
var ErrBusy = errors.New("another process has the turn")

// turnLimit is when the context of a turn ends. It is well before abandoned, when the
// server takes the turn from whoever does nothing with it.
const turnLimit = abandoned / 2

// Turn runs fn in a transaction while no other one, of any process, has the turn for this
// schema: they wait, or are told [ErrBusy] after wait. The turn ends with the transaction,
// whatever becomes of this process. The transaction has no number until fn writes, so
// that it keeps nobody waiting who looks only at what is older than all open ones. It is not
// repeated, and where its commit is not answered that is an error like any other.
func (db *DB) Turn(ctx context.Context, of int32, wait time.Duration, fn func(context.Context, *Tx) error) error {
	if db.closed.Load() {
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return kind(ctx, fmt.Errorf("%w: %w", errLost, err))
	}
	defer conn.Release()
	begin := fmt.Sprintf("BEGIN; SET LOCAL lock_timeout = %d; SELECT pg_advisory_xact_lock(%d, %d); SET LOCAL lock_timeout = 0",
		wait.Milliseconds(), of, LockKey(db.name))
	if _, err := conn.Exec(ctx, begin); err != nil {
		rollback(ctx, conn)
		if code(err) == codeLockTimeout {
			return ErrBusy
		}
		return kind(ctx, broke(conn.Conn(), err))
	}
	t := &Tx{conn: conn.Conn()}
	defer func() { t.done = true }()
	if err = fn(ctx, t); err == nil {
		err = t.err
	}
	if err != nil {
		rollback(ctx, conn)
		return kind(ctx, broke(conn.Conn(), err))
	}
	tag, err := conn.Exec(ctx, "COMMIT")
	if err == nil && tag.String() != "COMMIT" {
		err = errors.New("a statement failed before it")
	}
	if err != nil {
		return kind(ctx, broke(conn.Conn(), fmt.Errorf("commit: %w", err)))
	}
	return nil
}
