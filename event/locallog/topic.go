package locallog

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	segmentSuffix = ".seg"
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

type topicLog struct {
	log  *Log
	name string
	keep time.Duration

	flushing sync.Mutex // held while a group is written; guards active and reserved
	active   File
	reserved int64      // bytes of active that have their blocks
	trimming sync.Mutex // held while old segments are removed

	mu       sync.Mutex
	open     *group   // takes records; nil when none waits
	free     [][]byte // chunks of groups that are done, to be used again
	next     int64    // offset of the next record
	nanos    int64    // time of the last record
	durable  int64    // offset after the last durable record
	segments []*segment
	changed  chan struct{} // closed when durable grows; nil when nobody waits
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

// roll begins a new segment and makes its name durable before anything is in it. Without
// room for the name the log is as before and may go on later. last is the segment that
// ends, nil where there is none.
func (t *topicLog) roll(last *segment) (*segment, error) {
	t.mu.Lock()
	seg := &segment{base: t.durable, known: true}
	t.mu.Unlock()
	f, err := t.log.fs.Create(seg.name(t.name))
	if err != nil {
		return nil, fmt.Errorf("begin segment: %w", err)
	}
	if err := t.log.fs.SyncDir(t.name, SiteSegment); err != nil {
		return nil, t.log.fail(errors.Join(fmt.Errorf("begin segment: %w", err), f.Close()))
	}
	if last != nil {
		if err := t.end(last.size); err != nil {
			return nil, t.log.fail(errors.Join(fmt.Errorf("end segment: %w", err), f.Close()))
		}
	}
	t.active, t.reserved = f, 0
	t.mu.Lock()
	t.segments = append(t.segments, seg)
	t.mu.Unlock()
	return seg, nil
}

// end closes the active segment, of size bytes, without what was set aside behind it.
func (t *topicLog) end(size int64) error {
	return errors.Join(t.active.Truncate(size), t.active.Close())
}

// trim removes old segments from the front, each removal durable before the next, so
// that no crash leaves a hole.
func (t *topicLog) trim() error {
	if t.keep <= 0 {
		return nil
	}
	t.trimming.Lock()
	defer t.trimming.Unlock()
	cutoff := t.log.opt.Now().Add(-t.keep).UnixNano()
	for {
		t.mu.Lock()
		if len(t.segments) < 2 {
			t.mu.Unlock()
			return nil
		}
		after := t.segments[1]
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
		t.mu.Unlock()
		if !gone {
			return nil
		}
		if err := t.removeFirst(); err != nil {
			return err
		}
	}
}

// removeFirst removes the oldest segment, which is not the only one. It is called with
// trimming held.
func (t *topicLog) removeFirst() error {
	t.mu.Lock()
	old := t.segments[0]
	t.segments = t.segments[1:]
	t.mu.Unlock()
	if err := t.log.fs.Remove(old.name(t.name)); err != nil {
		// Still there: the next one must not go before it.
		t.mu.Lock()
		t.segments = append([]*segment{old}, t.segments...)
		t.mu.Unlock()
		return err
	}
	if err := t.log.fs.SyncDir(t.name, SiteTrim); err != nil {
		return t.log.fail(err)
	}
	return nil
}

// discard removes the segments of which every record is below before.
func (t *topicLog) discard(before int64) error {
	t.trimming.Lock()
	defer t.trimming.Unlock()
	if err := t.retire(before); err != nil {
		return err
	}
	for {
		t.mu.Lock()
		gone := len(t.segments) > 1 && t.segments[1].base <= before
		t.mu.Unlock()
		if !gone {
			return nil
		}
		if err := t.removeFirst(); err != nil {
			return err
		}
	}
}

// retire begins a new segment where the active one holds only records below before.
func (t *topicLog) retire(before int64) error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	seg := t.segments[len(t.segments)-1]
	used := seg.size > 0 && t.durable <= before
	t.mu.Unlock()
	if !used {
		return nil
	}
	if err := t.log.alive(); err != nil {
		return err
	}
	_, err := t.roll(seg)
	return err
}
