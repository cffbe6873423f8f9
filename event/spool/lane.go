package spool

import (
	"context"
	"fmt"
	"sync"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
)

// group is the spool's name among the readers of its own disk.
const group = "spool"

// lane is the way of one topic's events.
type lane struct {
	topic string

	mu sync.Mutex
	// spooling: events go to the disk, because some are there.
	spooling bool
	// held: callers wait a moment, so that delivery can catch up with them and spooling end.
	held      bool
	direct    int // appends to the cluster whose outcome is not known
	writing   int // appends to the disk that have not ended
	calls     map[mark]*call
	delivered int64 // offset on the disk up to which the cluster has everything
	bytes     int64 // on the disk and not delivered
	changed   chan struct{}

	spooled, sent uint64
}

// mark names a call that went both ways, in a header of its records on the disk.
type mark [16]byte

// call is an append to the cluster that the disk took over.
type call struct{ arrived bool }

// openLane finds what an earlier process left.
func openLane(ctx context.Context, disk *locallog.Log, topic string) (*lane, error) {
	n := &lane{topic: topic, calls: map[mark]*call{}, changed: make(chan struct{})}
	first, next, err := disk.Bounds(ctx, topic, 0)
	if err != nil {
		return nil, err
	}
	if n.delivered, err = disk.Committed(ctx, group, topic, 0); err != nil {
		return nil, err
	}
	n.delivered = max(n.delivered, first)
	if n.delivered > next {
		return nil, fmt.Errorf("%w: %s is delivered to %d, the spool ends at %d", event.ErrCorrupt, topic, n.delivered, next)
	}
	n.spooling = n.delivered < next
	for rec, err := range disk.Read(ctx, topic, 0, n.delivered, false) {
		if err != nil {
			return nil, err
		}
		n.bytes += size(&rec)
	}
	return n, nil
}

// size is what a record is counted as.
func size(r *event.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return int64(n)
}

func sizes(recs []event.Record) (n int64) {
	for i := range recs {
		n += size(&recs[i])
	}
	return n
}

// change makes a change and wakes those who wait for one.
func (n *lane) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// until waits for a state; false when ctx ended before.
func (n *lane) until(ctx context.Context, state func() bool) bool {
	for {
		n.mu.Lock()
		ok, changed := state(), n.changed
		n.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

func (n *lane) spools() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.spooling
}
