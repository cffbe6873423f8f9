package locallog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segue-music/segue/event"
)

const (
	segmentSuffix = ".seg"
	// maxGroupBytes bounds the memory and the wait of one group.
	maxGroupBytes = 8 << 20
	// indexEvery is the distance in bytes of two entries of the sparse index.
	indexEvery = 64 << 10
)

// mark is an entry of the sparse index: the frame at pos.
type mark struct{ offset, nanos, pos int64 }

type segment struct {
	base  int64 // offset of its first record; the file's name
	size  int64 // durable bytes
	marks []mark
	known bool // marks cover the whole segment
}

func (s *segment) name(topic string) string {
	return fmt.Sprintf("%s/%020d%s", topic, s.base, segmentSuffix)
}

func (s *segment) note(offset, nanos, pos int64) {
	if n := len(s.marks); n == 0 || pos-s.marks[n-1].pos >= indexEvery {
		s.marks = append(s.marks, mark{offset, nanos, pos})
	}
}

// group is a set of records that share one sync.
type group struct {
	buf   []byte
	marks []mark // of its frames, pos relative to buf
	next  int64  // offset after its last record
	done  chan struct{}
	err   error // valid after done
}

type topicLog struct {
	log  *Log
	name string
	keep time.Duration

	flushing sync.Mutex // held while a group is written; guards active
	active   File

	mu       sync.Mutex
	open     *group // takes records; nil when none waits
	spare    []byte // buffer of the last group, to be used again
	next     int64  // offset of the next record
	nanos    int64  // time of the last record
	durable  int64  // offset after the last durable record
	segments []*segment
	changed  chan struct{} // closed when durable grows; nil when nobody waits
}

func (t *topicLog) append(ctx context.Context, recs []event.Record) error {
	t.mu.Lock()
	for t.open != nil && len(t.open.buf) > maxGroupBytes {
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
		g = &group{buf: t.spare[:0], done: make(chan struct{})}
		t.open, t.spare = g, nil
	}
	t.nanos = max(t.nanos, t.log.opt.Now().UnixNano())
	for i := range recs {
		if n := len(g.marks); n == 0 || int64(len(g.buf))-g.marks[n-1].pos >= indexEvery {
			g.marks = append(g.marks, mark{t.next, t.nanos, int64(len(g.buf))})
		}
		g.buf = appendFrame(g.buf, t.log.table, recs[i], t.next, t.nanos)
		t.next++
	}
	g.next = t.next
	t.mu.Unlock()
	if lead {
		t.flush(g)
		return g.err
	}
	// Not ended by ctx: the records are on their way and only the disk knows.
	<-g.done
	return g.err
}

// flush writes g when the group before it is done. Callers join g until then.
func (t *topicLog) flush(g *group) {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	// The callers of the group before were woken just now; let them join.
	runtime.Gosched()
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
	err := t.log.alive()
	if err == nil && t.full(seg) {
		if seg, err = t.roll(); err != nil {
			err = t.log.fail(err)
		}
	}
	if err == nil {
		err = t.write(g, seg)
	}
	t.finish(g, seg, err)
}

// full says whether the next group begins a new segment. A topic that forgets begins one
// by age too, so that an idle one does not keep its records for ever.
func (t *topicLog) full(seg *segment) bool {
	if seg.size == 0 {
		return false
	}
	old := t.keep > 0 && len(seg.marks) > 0 && t.log.opt.Now().UnixNano()-seg.marks[0].nanos > int64(t.keep/8)
	return old || seg.size >= t.log.opt.SegmentBytes
}

func (t *topicLog) write(g *group, seg *segment) error {
	if _, err := t.active.WriteAt(g.buf, seg.size); err != nil {
		// Disk full, most likely: without what was written half, the log is as before.
		if cut := t.active.Truncate(seg.size); cut != nil {
			return t.log.fail(errors.Join(err, cut))
		}
		return fmt.Errorf("write: %w", err)
	}
	if err := t.active.Sync(SiteAppend); err != nil {
		return t.log.fail(err)
	}
	return nil
}

func (t *topicLog) finish(g *group, seg *segment, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g.err = err
	if err == nil {
		for _, m := range g.marks {
			seg.note(m.offset, m.nanos, seg.size+m.pos)
		}
		seg.size += int64(len(g.buf))
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
	if cap(g.buf) <= 2*maxGroupBytes {
		t.spare = g.buf
	}
	g.buf = nil
	close(g.done)
}

// roll begins a new segment and makes its name durable before anything is in it.
func (t *topicLog) roll() (*segment, error) {
	t.mu.Lock()
	seg := &segment{base: t.durable, known: true}
	t.mu.Unlock()
	f, err := t.log.fs.Create(seg.name(t.name))
	if err != nil {
		return nil, fmt.Errorf("begin segment: %w", err)
	}
	if err := t.log.fs.SyncDir(t.name, SiteSegment); err != nil {
		return nil, errors.Join(fmt.Errorf("begin segment: %w", err), f.Close())
	}
	if t.active != nil {
		if err := t.active.Close(); err != nil {
			return nil, errors.Join(fmt.Errorf("end segment: %w", err), f.Close())
		}
	}
	t.active = f
	t.mu.Lock()
	t.segments = append(t.segments, seg)
	t.mu.Unlock()
	return seg, nil
}

func openTopic(l *Log, name string, keep time.Duration) (*topicLog, error) {
	t := &topicLog{log: l, name: name, keep: keep}
	files, err := l.fs.List(name)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		base, err := strconv.ParseInt(strings.TrimSuffix(f, segmentSuffix), 10, 64)
		if err != nil || !strings.HasSuffix(f, segmentSuffix) || base < 0 {
			continue // not ours
		}
		t.segments = append(t.segments, &segment{base: base})
	}
	slices.SortFunc(t.segments, func(a, b *segment) int { return int(min(1, max(-1, a.base-b.base))) })
	if len(t.segments) == 0 {
		_, err := t.roll()
		return t, err
	}
	return t, t.recover()
}

// recover finds where the last segment ends, cuts what is torn behind that, and makes
// durable what it found: a reader may see it from now on.
func (t *topicLog) recover() error {
	last := t.segments[len(t.segments)-1]
	f, err := t.log.fs.Open(last.name(t.name))
	if err != nil {
		return err
	}
	t.active = f
	size, err := f.Size()
	if err != nil {
		return err
	}
	if t.next, t.nanos, err = t.scan(f, last, size); err != nil {
		return err
	}
	if last.size < size {
		if err := f.Truncate(last.size); err != nil {
			return fmt.Errorf("cut torn tail: %w", err)
		}
	}
	if err := f.Sync(SiteOpenData); err != nil {
		return err
	}
	if err := t.log.fs.SyncDir(t.name, SiteOpenDir); err != nil {
		return err
	}
	t.durable = t.next
	for _, s := range t.segments[:len(t.segments)-1] {
		if err := t.measure(s); err != nil {
			return err
		}
	}
	if n := len(t.segments); n > 1 && last.size == 0 {
		end, nanos, err := t.learn(t.segments[n-2])
		if err != nil {
			return err
		}
		if end != last.base {
			return fmt.Errorf("%w: segment %d ends at %d", event.ErrCorrupt, t.segments[n-2].base, end)
		}
		t.nanos = nanos
	}
	return nil
}

func (t *topicLog) measure(s *segment) error {
	f, err := t.log.fs.Open(s.name(t.name))
	if err != nil {
		return err
	}
	s.size, err = f.Size()
	return errors.Join(err, f.Close())
}

// scan walks seg up to limit or the first torn frame and fills its size and marks. It
// returns the offset after the last record and that one's time.
func (t *topicLog) scan(r io.ReaderAt, seg *segment, limit int64) (next, nanos int64, err error) {
	sc := scanner{r: r, table: t.log.table}
	next = seg.base
	seg.marks = nil
	for {
		pos := sc.pos
		f, err := sc.next(limit)
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) || (err == nil && f.offset != next) {
			seg.size, seg.known = pos, true
			return next, nanos, nil
		}
		if err != nil {
			return 0, 0, err
		}
		seg.note(f.offset, f.nanos, pos)
		next, nanos = f.offset+1, f.nanos
	}
}

// learn scans a closed segment, which must be whole.
func (t *topicLog) learn(seg *segment) (next, nanos int64, err error) {
	f, err := t.log.fs.Open(seg.name(t.name))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var found segment
	found.base = seg.base
	if next, nanos, err = t.scan(f, &found, seg.size); err != nil {
		return 0, 0, err
	}
	if found.size != seg.size {
		return 0, 0, fmt.Errorf("%w: segment %d at byte %d", event.ErrCorrupt, seg.base, found.size)
	}
	t.mu.Lock()
	seg.marks, seg.known = found.marks, true
	t.mu.Unlock()
	return next, nanos, nil
}

// trim removes old segments from the front, each removal durable before the next, so
// that no crash leaves a hole.
func (t *topicLog) trim() error {
	if t.keep <= 0 {
		return nil
	}
	cutoff := t.log.opt.Now().Add(-t.keep).UnixNano()
	for {
		t.mu.Lock()
		if len(t.segments) < 2 {
			t.mu.Unlock()
			return nil
		}
		old, after := t.segments[0], t.segments[1]
		known, empty := after.known, after.size == 0
		t.mu.Unlock()
		if empty {
			return nil
		}
		if !known {
			if _, _, err := t.learn(after); err != nil {
				return err
			}
		}
		t.mu.Lock()
		gone := len(after.marks) > 0 && after.marks[0].nanos < cutoff
		if gone {
			t.segments = t.segments[1:]
		}
		t.mu.Unlock()
		if !gone {
			return nil
		}
		if err := t.log.fs.Remove(old.name(t.name)); err != nil {
			return err
		}
		if err := t.log.fs.SyncDir(t.name, SiteTrim); err != nil {
			return t.log.fail(err)
		}
	}
}
