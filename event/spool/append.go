package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/fault"
)

// markHeader names the header that holds a mark. No producer of ours names one so.
const markHeader = "\x00spool"

// Append implements [event.Log].
func (l *Log) Append(ctx context.Context, recs ...event.Record) error {
	if err := l.run.Err(); err != nil {
		return fmt.Errorf("append: %w", event.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	for i := range recs {
		if err := recs[i].Check(); err != nil {
			return fmt.Errorf("append to %q: %w", recs[i].Topic, err)
		}
	}
	for len(recs) > 0 {
		n := 1
		for n < len(recs) && recs[n].Topic == recs[0].Topic {
			n++
		}
		if err := l.append(ctx, l.lanes[recs[0].Topic], recs[:n:n]); err != nil {
			return fmt.Errorf("append to %s: %w", recs[0].Topic, err)
		}
		recs = recs[n:]
	}
	return nil
}

// append stores records of one topic.
func (l *Log) append(ctx context.Context, n *lane, recs []event.Record) error {
	if err := l.pass(ctx, n); err != nil {
		return err
	}
	n.mu.Lock()
	if l.run.Err() != nil {
		n.mu.Unlock()
		return event.ErrClosed
	}
	if n.spooling || !l.reached() {
		n.begin()
		n.mu.Unlock()
		return l.keep(ctx, n, recs)
	}
	n.direct++
	done, c, own := make(chan error, 1), &call{}, copied(recs)
	l.work.Go(func() { done <- l.send(ctx, n, c, own) }) // within mu: Close waits for it
	n.mu.Unlock()
	timer := time.NewTimer(l.opt.Patience)
	defer timer.Stop()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		if l.run.Err() != nil {
			return fmt.Errorf("%w: %w", event.ErrClosed, err)
		}
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err() // it may arrive: the caller repeats, consumers drop doubles
	}
	var m mark
	n.mu.Lock()
	if c.arrived { // in this moment
		n.mu.Unlock()
		return nil
	}
	copy(m[:], l.life[:])
	binary.BigEndian.PutUint64(m[8:], l.marks.Add(1))
	n.calls[m] = c
	n.begin()
	n.mu.Unlock()
	return l.keep(ctx, n, marked(recs, m))
}

// pass waits while callers are held. It ends that itself when it takes too long: the
// cluster went away again meanwhile.
func (l *Log) pass(ctx context.Context, n *lane) error {
	n.mu.Lock()
	held := n.held
	n.mu.Unlock()
	if !held {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, l.opt.Patience)
	defer cancel()
	if !n.until(limited, func() bool { return !n.held }) && ctx.Err() == nil {
		n.change(func() { n.held = false })
	}
	return ctx.Err()
}

func (l *Log) reached() bool {
	select {
	case <-l.connected:
		return true
	default:
		return false
	}
}

// begin notes that a call is about to write to the disk. It is called with mu held.
func (n *lane) begin() {
	n.spooling = true
	n.writing++
	close(n.changed)
	n.changed = make(chan struct{})
}

// send appends to the cluster, however long that takes: only the producer may say that
// a record which was sent did not arrive.
func (l *Log) send(ctx context.Context, n *lane, c *call, recs []event.Record) error {
	err := l.next.Append(context.WithoutCancel(ctx), recs...)
	n.change(func() {
		n.direct--
		c.arrived = err == nil
	})
	return err
}

// keep writes to the disk, after begin.
func (l *Log) keep(ctx context.Context, n *lane, recs []event.Record) (err error) {
	bytes := sizes(recs)
	defer func() {
		n.change(func() {
			n.writing--
			if err == nil {
				n.bytes += bytes
				n.spooled += uint64(len(recs))
			}
		})
	}()
	if err = l.room(); err == nil {
		err = l.disk.Append(ctx, recs...)
	}
	if errors.Is(fault.Disk(err), fault.ErrDiskFull) {
		err = ErrFull.Because(err)
	}
	if errors.Is(err, ErrFull) {
		l.refused.Add(uint64(len(recs)))
	}
	return err
}

// copied is for a producer that may hold the records longer than the caller waits.
func copied(recs []event.Record) []event.Record {
	out := slices.Clone(recs)
	for i := range out {
		out[i].Key, out[i].Value, out[i].Headers = slices.Clone(out[i].Key), slices.Clone(out[i].Value), slices.Clone(out[i].Headers)
		for j := range out[i].Headers {
			out[i].Headers[j].Value = slices.Clone(out[i].Headers[j].Value)
		}
	}
	return out
}

// marked puts the mark on records, but for one that has no room for another header: that
// one may come twice.
func marked(recs []event.Record, m mark) []event.Record {
	out := slices.Clone(recs)
	for i := range out {
		if len(out[i].Headers) < event.MaxHeaders {
			out[i].Headers = append(slices.Clip(out[i].Headers), event.Header{Name: markHeader, Value: m[:]})
		}
	}
	return out
}

// unmarked takes the mark off.
func unmarked(r event.Record) (_ event.Record, m mark, ok bool) {
	last := len(r.Headers) - 1
	if last < 0 || r.Headers[last].Name != markHeader || len(r.Headers[last].Value) != len(m) {
		return r, m, false
	}
	m = mark(r.Headers[last].Value)
	r.Headers = r.Headers[:last:last]
	return r, m, true
}
