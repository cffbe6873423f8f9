package sqlitedb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/segue-music/segue/internal/span"
)

// maxGroup bounds the functions of one commit, and so the wait of the first of them.
const maxGroup = 256

// request is one caller of Write while it waits.
type request struct {
	ctx  context.Context //nolint:containedctx // lives exactly as long as the call that made it
	fn   func(*Tx) error
	wake chan struct{} // one token: the result is there, or lead is set

	lead     bool // guarded by DB.mu: this caller runs the next batch
	started  bool // guarded by DB.mu: taken into a batch
	group    int  // size of the batch
	err      error
	panicked any
	hooks    []func()
}

// Write runs fn inside a transaction and returns when its change is durable.
//
// Functions of concurrent callers share one commit, each under its own savepoint: an
// error or a panic of fn rolls back fn's change only, and the panic continues in fn's
// own caller. fn may run on another goroutine, so it must not wait for another Write,
// and Tx must not be kept. If ctx ends before fn has begun, fn never runs; once it has
// begun Write reports what really happened, so a nil error always means durable and an
// error always means not applied. The one exception is an error of COMMIT itself (disk
// full, I/O error, a deferred constraint), which every function of the group is told.
// That the disk is full is fault.ErrDiskFull.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if db.took != nil {
		defer func(start time.Time) { db.took.Observe(time.Since(start).Seconds()) }(time.Now())
	}
	_, sp := span.Start(ctx, "sqlite write")
	if !sp.IsRecording() {
		_, err := db.write(ctx, fn)
		return err
	}
	group, err := db.write(ctx, fn)
	sp.SetAttributes(attribute.String("db.system.name", "sqlite"), attribute.String("db.namespace", db.name), attribute.Int("segue.group", group))
	span.End(sp, err)
	return err
}

// write is Write. group is how many functions shared the transaction.
func (db *DB) write(ctx context.Context, fn func(*Tx) error) (group int, err error) {
	r := &request{ctx: ctx, fn: fn, wake: make(chan struct{}, 1)}
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return 0, ErrClosed
	}
	db.queue = append(db.queue, r)
	if db.led {
		db.mu.Unlock()
		select {
		case <-r.wake:
		case <-ctx.Done():
			if db.withdraw(r) {
				return 0, fmt.Errorf("wait to write: %w", ctx.Err())
			}
			<-r.wake
		}
	} else {
		db.led, r.lead = true, true
		db.mu.Unlock()
	}
	db.mu.Lock()
	lead := r.lead
	db.mu.Unlock()
	if lead {
		db.leadBatch()
	}
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.group, diskFull(r.err)
}

// withdraw takes r out of the queue if no batch has begun it.
func (db *DB) withdraw(r *request) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if r.started || r.lead {
		return false
	}
	for i, q := range db.queue {
		if q == r {
			db.queue = append(db.queue[:i], db.queue[i+1:]...)
			return true
		}
	}
	return false
}

// leadBatch runs one batch, whose first request is the caller's, and passes the lead on.
// No goroutine of its own: the first waiting caller works for those behind it.
func (db *DB) leadBatch() {
	db.mu.Lock()
	n := min(len(db.queue), maxGroup)
	batch := db.queue[:n:n]
	db.queue = db.queue[n:]
	for _, r := range batch {
		r.started, r.group = true, n
	}
	db.mu.Unlock()

	// Deferred, because fn may end this goroutine (runtime.Goexit, as t.FailNow does):
	// the others must hear of it and the lead must go on.
	finished := false
	var tx *sql.Tx
	defer func() {
		if !finished {
			if tx != nil {
				_ = tx.Rollback() // the batch fails either way
			}
			failAll(batch, errors.New("write: a function of the group ended its goroutine"))
		}
		db.settle(batch)
	}()
	err := db.runBatch(batch, &tx)
	if err != nil {
		failAll(batch, err)
	}
	finished = true
}

func failAll(batch []*request, err error) {
	for _, r := range batch {
		if r.err == nil && r.panicked == nil {
			r.err = err
		}
	}
}

// settle counts, runs the hooks of what was committed, wakes the batch and hands over.
func (db *DB) settle(batch []*request) {
	var ok, failed uint64
	for _, r := range batch {
		if r.err == nil && r.panicked == nil {
			ok++
			for _, h := range r.hooks {
				h()
			}
		} else {
			failed++
		}
	}
	db.mu.Lock()
	db.stats.Writes += ok
	db.stats.Failed += failed
	if ok > 0 {
		db.stats.Commits++
	}
	if len(db.queue) > 0 {
		next := db.queue[0]
		next.lead = true
		next.wake <- struct{}{}
	} else {
		db.queue, db.led = nil, false
		db.idle.Broadcast()
	}
	db.mu.Unlock()
	for _, r := range batch {
		select {
		case r.wake <- struct{}{}:
		default: // the leader itself had its token already
		}
	}
}

// runBatch returns an error when nothing of the batch was applied.
func (db *DB) runBatch(batch []*request, out **sql.Tx) error {
	// The group outlives any one caller, so no caller's context may interrupt it.
	ctx := context.Background()
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin write: %w", err)
	}
	*out = tx
	applied := false
	for _, r := range batch {
		if err := r.ctx.Err(); err != nil {
			r.err = fmt.Errorf("wait to write: %w", err)
			continue
		}
		if err := runOne(ctx, tx, r); err != nil {
			// SQLite rolled the whole transaction back (disk full, I/O error): the
			// savepoints are gone and with them everyone's change.
			return errors.Join(fmt.Errorf("write group: %w", err), ignoreDone(tx.Rollback()))
		}
		applied = applied || (r.err == nil && r.panicked == nil)
	}
	if !applied {
		return ignoreDone(tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return errors.Join(fmt.Errorf("commit: %w", err), ignoreDone(tx.Rollback()))
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// runOne runs one function under its savepoint. Its own failure goes to r; the error
// returned is that of the group.
func runOne(ctx context.Context, tx *sql.Tx, r *request) error {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT fn"); err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	call(tx, r)
	if r.err != nil || r.panicked != nil {
		r.hooks = nil
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO fn"); err != nil {
			return fmt.Errorf("roll back to savepoint: %w", errors.Join(err, r.err))
		}
	}
	if _, err := tx.ExecContext(ctx, "RELEASE fn"); err != nil {
		return fmt.Errorf("release savepoint: %w", err)
	}
	return nil
}

func call(tx *sql.Tx, r *request) {
	t := &Tx{tx: tx}
	defer func() {
		t.close()
		if p := recover(); p != nil {
			r.panicked = p
		}
	}()
	if r.err = r.fn(t); r.err == nil {
		r.err = t.failed()
	}
	r.hooks = t.hooks
}
