package pgdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"

	"github.com/segue-music/segue/internal/span"
)

// errLost says that the connection broke, with nothing of the transaction done.
var errLost = errors.New("connection to PostgreSQL is lost")

const (
	// retryFor is how long a transaction is repeated: a server's restart takes seconds.
	retryFor   = 5 * time.Second
	retryFirst = 10 * time.Millisecond
	retryMost  = 500 * time.Millisecond
	// tryLimit bounds one try where neither the caller nor the server does, as on a network
	// that swallows everything.
	tryLimit = 30 * time.Second
	// settleLimit bounds the commit and the question how it ended.
	settleLimit = 10 * time.Second
)

// Write runs fn in a transaction and returns when its change is durable.
//
// fn runs again, from its beginning, where the server found the transaction in the way of
// another one or the connection broke; that ends after 5 s. It keeps nothing of an earlier
// run. Once the commit has been sent the end of ctx does not matter any more: a nil error
// always means durable, and an error not applied, but for [ErrUnknown]. What the server
// refuses because it is away or too busy is fault.Unavailable, a full disk is
// fault.ErrDiskFull.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	if db.took != nil {
		defer func(start time.Time) { db.took.Observe(time.Since(start).Seconds()) }(time.Now())
	}
	ctx, sp := span.Start(ctx, "postgres write")
	tries, err := db.repeat(ctx, func(ctx context.Context) error { return db.write(ctx, fn) })
	if err != nil {
		db.failed.Add(1)
	} else {
		db.writes.Add(1)
	}
	if sp.IsRecording() {
		sp.SetAttributes(attribute.String("db.system.name", "postgresql"), attribute.String("db.namespace", db.name), attribute.Int("segue.tries", tries))
	}
	span.End(sp, err)
	return err
}

// Read runs fn on a connection. Each statement sees every write acknowledged before it. fn
// runs again where the connection broke, so it keeps nothing of an earlier run.
func (db *DB) Read(ctx context.Context, fn func(Queryer) error) error {
	_, err := db.repeat(ctx, func(ctx context.Context) error {
		conn, err := db.pool.Acquire(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		defer conn.Release()
		return broke(conn.Conn(), fn(conn))
	})
	return err
}

// repeat runs try until it ends otherwise than by a collision or a lost connection.
func (db *DB) repeat(ctx context.Context, try func(context.Context) error) (tries int, err error) {
	wait := retryFirst
	for start := time.Now(); ; {
		if db.closed.Load() {
			return tries, ErrClosed
		}
		tries++
		err = db.once(ctx, try)
		if err == nil || ctx.Err() != nil || !collides(err) && !errors.Is(err, errLost) || time.Since(start) > retryFor {
			return tries, kind(ctx, err)
		}
		db.retries.Add(1)
		select {
		case <-time.After(wait/2 + rand.N(wait)): //nolint:gosec // a draw, no secret
		case <-ctx.Done():
			return tries, err
		}
		wait = min(2*wait, retryMost)
	}
}

func (db *DB) once(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	return try(ctx)
}

// broke tells a connection that is of no more use from a statement that failed.
func broke(conn *pgx.Conn, err error) error {
	if err == nil {
		return nil
	}
	if gone(err) && !conn.IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // the pool makes another one
	}
	if conn.IsClosed() {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

// write is one try.
func (db *DB) write(ctx context.Context, fn func(*Tx) error) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	// What is still in a transaction, as after a panic of fn, is not used again.
	defer conn.Release()
	xid, err := begin(ctx, conn)
	if err != nil {
		return broke(conn.Conn(), fmt.Errorf("begin: %w", err))
	}
	t := &Tx{conn: conn.Conn()}
	defer func() { t.done = true }()
	if err = fn(t); err == nil {
		err = t.err
	}
	if err != nil {
		rollback(ctx, conn)
		return broke(conn.Conn(), err)
	}
	if err := db.commit(ctx, conn, xid); err != nil {
		return err
	}
	for _, h := range t.hooks {
		h()
	}
	return nil
}

// begin begins a transaction and asks for its number, by which the server can be asked
// how it ended.
func begin(ctx context.Context, conn *pgxpool.Conn) (xid string, err error) {
	results, err := conn.Conn().PgConn().Exec(ctx, "BEGIN; SELECT pg_current_xact_id()::text").ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) != 2 || len(results[1].Rows) != 1 {
		return "", errors.New("the server gives no transaction number")
	}
	return string(results[1].Rows[0][0]), nil
}

func rollback(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, "ROLLBACK") // a connection that cannot is closed, which does it too
}

func (db *DB) commit(ctx context.Context, conn *pgxpool.Conn, xid string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	tag, err := conn.Exec(ctx, "COMMIT")
	switch {
	case err == nil && tag.String() == "COMMIT":
		return nil
	case err == nil:
		return errors.New("commit: a statement failed before it") // and fn did not look
	case code(err) != "" && !gone(err):
		return fmt.Errorf("commit: %w", err) // the server refused it
	}
	began, _ := conn.Conn().PgConn().CustomData()[startKey].(string)
	return db.settle(ctx, xid, began, fmt.Errorf("commit: %w", err))
}

// settle asks how a transaction ended whose commit was not answered. cause is why.
func (db *DB) settle(ctx context.Context, xid, began string, cause error) error {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		var now string
		var state *string
		err := db.pool.QueryRow(ctx, "SELECT pg_xact_status($1::text::xid8), pg_postmaster_start_time()::text", xid).Scan(&state, &now)
		// A server that crashed gives the numbers of its last moments to others, if it had
		// not yet written them down, which it has where there was a commit. So "committed" may
		// be said of another transaction than ours; anything else is true.
		switch {
		case code(err) == codeFuture:
			return fmt.Errorf("%w: %w", errLost, cause)
		case err == nil && state != nil && *state == "aborted":
			return fmt.Errorf("%w: %w", errLost, cause)
		case err == nil && state != nil && *state == "committed" && now == began:
			return nil
		case err == nil && (state == nil || *state == "committed"):
			return ErrUnknown.Because(cause)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ErrUnknown.Because(cause)
		}
	}
}

// codeFuture is the answer about a transaction number that was never given.
const codeFuture = "22023"
