package spool

import (
	"context"
	"fmt"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/pause"
)

const (
	// batchRecords and batchBytes bound what is delivered at a time, and so what a crash
	// makes the next process deliver again.
	batchRecords, batchBytes = 5000, 4 << 20
	// retryLeast and retryMost bound the pause after a cluster refused.
	retryLeast, retryMost = 100 * time.Millisecond, 5 * time.Second
)

// deliver brings what is on the disk to the cluster, for as long as ctx lives.
func (l *Log) deliver(ctx context.Context, n *lane) {
	wait := retryLeast
	for {
		if !n.until(ctx, func() bool { return n.spooling && n.direct == 0 }) {
			return
		}
		next, err := l.await(ctx)
		if err != nil {
			return
		}
		began := l.opt.Now()
		if err = l.empty(ctx, n, next); err == nil {
			wait = retryLeast
			l.opt.Log.InfoContext(ctx, "the spool is empty: events go straight to the event log again", "topic", n.topic, "after", l.opt.Now().Sub(began))
			continue
		}
		if ctx.Err() != nil {
			return
		}
		l.opt.Log.WarnContext(ctx, "events wait on this machine's disk", "topic", n.topic, "err", err)
		n.change(func() { n.held = false })
		if !pause.For(ctx, wait) {
			return
		}
		wait = min(2*wait, retryMost)
	}
}

// empty delivers until nothing is left, and ends spooling in the same moment.
func (l *Log) empty(ctx context.Context, n *lane, next event.Log) error {
	for {
		b, err := l.read(ctx, n)
		if err != nil {
			return fmt.Errorf("read spool: %w", err)
		}
		if b.last {
			// Callers who keep coming would keep it from ever being empty.
			n.change(func() { n.held = true })
		}
		if b.end == n.delivered {
			if l.finish(ctx, n) {
				return l.disk.Discard(n.topic, b.end)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		if err := next.Append(ctx, b.recs...); err != nil {
			return fmt.Errorf("deliver: %w", err)
		}
		// The effect is there, so this is done even when ctx has ended.
		if err := l.disk.Commit(context.WithoutCancel(ctx), group, n.topic, 0, b.end); err != nil {
			return err
		}
		n.change(func() {
			n.delivered = b.end
			n.bytes -= b.bytes
			n.sent += uint64(len(b.recs))
		})
		if b.last {
			continue // the segment goes when spooling ends
		}
		if err := l.disk.Discard(n.topic, b.end); err != nil {
			return err
		}
	}
}

// batch is what comes next on the disk, up to offset end.
type batch struct {
	recs  []event.Record // those that the cluster does not have
	end   int64
	bytes int64 // of all
	last  bool  // there is no more
}

func (l *Log) read(ctx context.Context, n *lane) (batch, error) {
	b := batch{end: n.delivered}
	for rec, err := range l.disk.Read(ctx, n.topic, 0, b.end, false) {
		if err != nil {
			return b, err
		}
		if b.end > n.delivered && (len(b.recs) >= batchRecords || b.bytes+size(&rec) > batchBytes) {
			return b, nil
		}
		b.end, b.bytes = rec.Offset+1, b.bytes+size(&rec)
		rec, m, ok := unmarked(rec)
		if !ok || !n.arrived(m) {
			rec.Time, rec.Offset = time.Time{}, 0 // the cluster's to give
			b.recs = append(b.recs, rec)
		}
	}
	b.last = true
	return b, nil
}

// arrived reports whether the cluster took the call itself.
func (n *lane) arrived(m mark) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.calls[m]
	return c != nil && c.arrived
}

// finish waits for those who write, and ends spooling if nothing is left then.
func (l *Log) finish(ctx context.Context, n *lane) (ended bool) {
	if !n.until(ctx, func() bool { return n.writing == 0 || !n.held }) {
		return false
	}
	n.change(func() {
		_, next, err := l.disk.Bounds(ctx, n.topic, 0)
		if err != nil || n.writing != 0 || next != n.delivered {
			return
		}
		ended = true
		n.spooling, n.held = false, false
		clear(n.calls)
	})
	return ended
}
