// Package spool keeps events on this machine's disk while the cluster's log is away, and
// delivers them in order when it is back.
//
// An event goes straight to the cluster. Where that does not answer within Options.Patience,
// or refuses, the event is written to a log on the disk instead, and acknowledged once it
// is durable there. From then on every event of its topic goes through the disk, until all
// of them are delivered: events of one key keep their order.
//
// An event that was on its way when the cluster went silent is in both places, and nobody
// knows yet whether the cluster has it. Delivery therefore waits until the producer, which
// tries for ever, knows; what did arrive is left out. A process that dies in between has
// no such memory: its next life delivers again, with the same event id.
package spool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/pause"
)

var (
	// ErrFull refuses an event that neither the cluster nor the disk can take now.
	ErrFull = fault.New(fault.Unavailable, "events cannot be kept now").RetryIn(fullRetry)
	// ErrAway says that the cluster was never reached since the start.
	ErrAway = fault.New(fault.Unavailable, "the event log cannot be reached now").RetryIn(fullRetry)
)

const (
	fullRetry = 5 * time.Second
	// connectRetry is the pause between tries to open the cluster's log.
	connectRetry = time.Second
	// segmentBytes is small, so that the disk comes back while delivery goes on.
	segmentBytes = 8 << 20
)

// Options of [Open].
type Options struct {
	// Connect opens the cluster's log. It is tried until it succeeds.
	Connect func(ctx context.Context) (event.Log, error)
	// Patience is how long an event waits for the cluster before the disk takes it; 0 is
	// 250 ms.
	Patience time.Duration
	// Ask is how long a question, and Open, wait for a cluster that was never reached; 0
	// is 5 s.
	Ask time.Duration
	// Space is an error when the disk has no room for more; nil never asks.
	Space func() error
	// OnFail is called once when the disk can promise nothing any more; see locallog.
	OnFail func(error)
	Now    func() time.Time // time.Now when nil
	Log    *slog.Logger     // slog.Default when nil
}

// Log is an [event.Log] in front of another. Reading, groups and their offsets are the
// other's: they know nothing of what is still on the disk.
type Log struct {
	opt   Options
	disk  *locallog.Log
	lanes map[string]*lane
	life  [8]byte // tells the marks of this process from those of earlier ones
	marks atomic.Uint64

	refused atomic.Uint64

	connected chan struct{} // closed after next is set
	next      event.Log

	run    context.Context //nolint:containedctx // the life of the log's own work, ended by Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	close  func() error // once
}

var _ event.Log = (*Log)(nil)

// Open opens the spool in dir, which one process at a time may use, and begins to deliver
// what an earlier process left. It waits a moment for the cluster, and goes on without it.
func Open(ctx context.Context, dir string, opt Options) (*Log, error) {
	if opt.Patience <= 0 {
		opt.Patience = 250 * time.Millisecond
	}
	if opt.Ask <= 0 {
		opt.Ask = 5 * time.Second
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	disk, err := locallog.Open(dir, locallog.Options{
		Now: opt.Now, OnFail: opt.OnFail, SegmentBytes: segmentBytes,
		Retention: func(string) time.Duration { return 0 }, // until it is delivered
	})
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	l := &Log{opt: opt, disk: disk, lanes: map[string]*lane{}, connected: make(chan struct{})}
	_, _ = rand.Read(l.life[:]) // never fails (Go 1.24)
	for _, t := range event.Topics() {
		if l.lanes[t.Name], err = openLane(ctx, disk, t.Name); err != nil {
			return nil, errors.Join(fmt.Errorf("open spool: %w", err), disk.Close())
		}
	}
	l.run, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.close = sync.OnceValue(l.shut)
	l.work.Go(l.connect)
	for _, lane := range l.lanes {
		l.work.Go(func() { l.deliver(l.run, lane) })
	}
	_, _ = l.log(ctx) // a start while the cluster is there is as without a spool
	return l, nil
}

// connect opens the cluster's log.
func (l *Log) connect() {
	for told := false; ; {
		next, err := l.opt.Connect(l.run)
		if l.run.Err() != nil {
			if err == nil {
				_ = next.Close() // not used
			}
			return
		}
		if err == nil {
			l.next = next
			close(l.connected)
			return
		}
		if !told {
			told = true
			l.opt.Log.Warn("the event log cannot be reached: events are kept on this machine's disk", "err", err)
		}
		if !pause.For(l.run, connectRetry) {
			return
		}
	}
}

// log is the cluster's log; ErrAway where it was not reached in time.
func (l *Log) log(ctx context.Context) (event.Log, error) {
	limited, cancel := context.WithTimeout(ctx, l.opt.Ask)
	defer cancel()
	next, err := l.await(limited)
	if err != nil && ctx.Err() == nil && !errors.Is(err, event.ErrClosed) {
		return nil, ErrAway
	}
	return next, err
}

// await is log for those who wait as long as ctx does.
func (l *Log) await(ctx context.Context) (event.Log, error) {
	select {
	case <-l.connected:
		return l.next, nil
	default:
	}
	select {
	case <-l.connected:
		return l.next, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.run.Done():
		return nil, event.ErrClosed
	}
}

// Check is an error when the spool could take no event: what readiness asks, for an
// absent cluster is no reason to turn listeners away.
func (l *Log) Check(context.Context) error {
	if l.run.Err() != nil {
		return event.ErrClosed
	}
	for _, lane := range l.lanes {
		if lane.spools() {
			return l.room()
		}
	}
	return nil
}

// Empty reports whether everything acknowledged is with the cluster.
func (l *Log) Empty() bool {
	for _, lane := range l.lanes {
		if lane.spools() {
			return false
		}
	}
	return true
}

func (l *Log) room() error {
	if l.opt.Space == nil {
		return nil
	}
	if err := l.opt.Space(); err != nil {
		return ErrFull.Because(err)
	}
	return nil
}

// Close implements [event.Log]. What is on the disk is delivered by the next process.
func (l *Log) Close() error { return l.close() }

func (l *Log) shut() error {
	l.cancel()
	for _, n := range l.lanes {
		n.mu.Lock()   // from here on nobody begins
		n.mu.Unlock() //nolint:staticcheck // see above
	}
	var err error
	if l.reached() {
		err = l.next.Close() // ends the appends that are on their way
	}
	l.work.Wait()
	return errors.Join(err, l.disk.Close())
}
