package locallog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/segue-music/segue/event"
)

const (
	// maxGroupBytes bounds the memory and the wait of one group: it takes no more calls
	// once it is larger.
	maxGroupBytes = 8 << 20
	// maxCallBytes bounds what joins a group at once; a longer call is several. A single
	// frame is far below.
	maxCallBytes = 1 << 20
	// chunkBytes is the memory that a group takes at a time.
	chunkBytes = 256 << 10
	// maxGather bounds how often a group waits for more callers while the disk is idle.
	maxGather = 16
	// minReserve and maxReserve bound the bytes of disk that are set aside at a time.
	minReserve, maxReserve = 64 << 10, 8 << 20
	// lockTries bounds how often a caller tries for the mutex before it parks.
	lockTries = 100
	// maxFree chunks are kept by a topic for its next groups.
	maxFree = 8
)

// group is a set of records that share one sync. Callers reserve their place under the
// topic's mutex and fill it without.
type group struct {
	chunks  [][]byte // one after the other in the file
	size    int64    // of all chunks
	marks   []mark   // pos relative to the group
	next    int64    // offset after its last record
	filling sync.WaitGroup
	done    chan struct{}
	err     error // valid after done
}

// append stores recs, all of this topic, in order, and returns when they are durable.
func (t *topicLog) append(ctx context.Context, recs []event.Record) error {
	for len(recs) > 0 {
		n, size := 0, 0
		for n < len(recs) {
			s := frameSize(&recs[n])
			if n > 0 && size+s > maxCallBytes {
				break
			}
			n, size = n+1, size+s
		}
		if err := t.join(ctx, recs[:n], size); err != nil {
			return err
		}
		recs = recs[n:]
	}
	return nil
}

// join puts recs, size bytes as frames, into a group and waits until that is durable.
func (t *topicLog) join(ctx context.Context, recs []event.Record, size int) error {
	now := t.log.opt.Now().UnixNano()
	t.lock()
	for t.open != nil && t.open.size > maxGroupBytes {
		g := t.open
		t.mu.Unlock()
		select {
		case <-g.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		t.mu.Lock()
	}
	if err := t.log.alive(); err != nil {
		t.mu.Unlock()
		return err
	}
	g := t.open
	lead := g == nil
	if lead {
		g = &group{done: make(chan struct{})}
		t.open = g
	}
	t.nanos = max(t.nanos, now)
	offset, nanos := t.next, t.nanos
	place := t.reserve(g, recs, size)
	t.mu.Unlock()
	for i := range recs {
		place = appendFrame(place, t.log.table, &recs[i], offset+int64(i), nanos)
	}
	g.filling.Done()
	if lead {
		t.flush(g)
		return g.err
	}
	// Not ended by ctx: the records are on their way and only the disk knows.
	<-g.done
	return g.err
}

// lock is mu.Lock for callers that come in crowds. The mutex is held for less time than it
// takes to park a goroutine and wake it again, so they try for a moment before that.
func (t *topicLog) lock() {
	for range lockTries {
		if t.mu.TryLock() {
			return
		}
	}
	t.mu.Lock()
}

// reserve gives recs their offsets and the next size bytes of g, as an empty slice with
// room for no more. It is called with mu held.
func (t *topicLog) reserve(g *group, recs []event.Record, size int) []byte {
	pos := g.size
	for i := range recs {
		if n := len(g.marks); n == 0 || pos-g.marks[n-1].pos >= indexEvery {
			g.marks = append(g.marks, mark{t.next + int64(i), t.nanos, pos})
		}
		if len(recs) > 1 {
			pos += int64(frameSize(&recs[i]))
		}
	}
	t.next += int64(len(recs))
	g.next = t.next
	g.size += int64(size)
	g.filling.Add(1)
	last := len(g.chunks) - 1
	if last < 0 || cap(g.chunks[last])-len(g.chunks[last]) < size {
		g.chunks = append(g.chunks, t.chunk(size))
		last++
	}
	c := g.chunks[last]
	g.chunks[last] = c[:len(c)+size]
	return c[len(c) : len(c) : len(c)+size]
}

// chunk is empty memory for at least size bytes. It is called with mu held.
func (t *topicLog) chunk(size int) []byte {
	if size > chunkBytes {
		return make([]byte, 0, size)
	}
	if n := len(t.free); n > 0 {
		c := t.free[n-1]
		t.free = t.free[:n-1]
		return c
	}
	return make([]byte, 0, chunkBytes)
}

// flush writes g when the group before it is done. Callers join g until then.
func (t *topicLog) flush(g *group) {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.gather(g)
	t.mu.Lock()
	if t.open == g {
		t.open = nil
	}
	seg := t.segments[len(t.segments)-1]
	t.mu.Unlock()
	select {
	case <-g.done: // the group before could not be written and took this one with it
		return
	default:
	}
	g.filling.Wait()
	err := t.log.alive()
	if err == nil && t.full(seg) {
		if next, rollErr := t.roll(seg); rollErr == nil {
			seg = next
		} else {
			err = rollErr
		}
	}
	if err == nil {
		err = t.write(g, seg)
	}
	t.finish(g, seg, err)
}

// gather lets those join g who are about to: the callers of the group before were woken
// just now. It ends when nobody came while others ran.
func (t *topicLog) gather(g *group) {
	for before, rounds := int64(-1), 0; rounds < maxGather; rounds++ {
		t.mu.Lock()
		now := g.next
		t.mu.Unlock()
		if now == before {
			return
		}
		before = now
		runtime.Gosched()
	}
}

func (t *topicLog) write(g *group, seg *segment) error {
	t.reserveDisk(seg.size + g.size)
	pos := seg.size
	for _, c := range g.chunks {
		if _, err := t.active.WriteAt(c, pos); err != nil {
			// Disk full, most likely: without what was written half, the log is as before.
			// Synced, because the next group may begin a new segment: this one is whole then.
			cut := t.active.Truncate(seg.size)
			t.reserved = 0
			if cut == nil {
				cut = t.active.Sync(SiteCut)
			}
			if cut != nil {
				return t.log.fail(errors.Join(err, cut))
			}
			return fmt.Errorf("write: %w", err)
		}
		pos += int64(len(c))
	}
	if err := t.active.Sync(SiteAppend); err != nil {
		return t.log.fail(err)
	}
	return nil
}

// reserveDisk has the file system set blocks aside for what comes next, in steps that grow
// with the segment: a sync then need not do it for every group.
func (t *topicLog) reserveDisk(end int64) {
	if end <= t.reserved {
		return
	}
	t.reserved = end + min(max(end, minReserve), maxReserve)
	t.active.Reserve(t.reserved)
}

func (t *topicLog) finish(g *group, seg *segment, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g.err = err
	if err == nil {
		for _, m := range g.marks {
			seg.note(m.offset, m.nanos, seg.size+m.pos)
		}
		seg.size += g.size
		t.durable = g.next
		if t.changed != nil {
			close(t.changed)
			t.changed = nil
		}
	} else {
		// Offsets were given out in a row, so those who joined the next group fail too.
		t.next = t.durable
		if later := t.open; later != nil {
			t.open = nil
			later.err = err
			close(later.done)
		}
	}
	for _, c := range g.chunks {
		if cap(c) == chunkBytes && len(t.free) < maxFree {
			t.free = append(t.free, c[:0])
		}
	}
	g.chunks = nil
	close(g.done)
}
