package locallog

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segue-music/segue/event"
)

func openTopic(l *Log, name string, keep time.Duration) (*topicLog, error) {
	t := &topicLog{log: l, name: name, keep: keep}
	files, err := l.fs.List(name)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		base, err := strconv.ParseInt(strings.TrimSuffix(f, segmentSuffix), 10, 64)
		seg := &segment{base: base}
		if err != nil || base < 0 || seg.name(name) != name+"/"+f {
			continue // not ours
		}
		t.segments = append(t.segments, seg)
	}
	slices.SortFunc(t.segments, func(a, b *segment) int { return int(min(1, max(-1, a.base-b.base))) })
	if len(t.segments) == 0 {
		_, err := t.roll(nil)
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
	// A crash tears one group. What is torn further was on the disk, and acknowledged.
	if size-last.size > maxGroupBytes+maxCallBytes {
		return fmt.Errorf("%w: segment %d at byte %d of %d", event.ErrCorrupt, last.base, last.size, size)
	}
	// Also where nothing is torn: what was set aside behind the end is given back.
	if err := f.Truncate(last.size); err != nil {
		return fmt.Errorf("cut torn tail: %w", err)
	}
	if err := rewrite(f, last.size); err != nil {
		return fmt.Errorf("rewrite tail: %w", err)
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

// rewrite writes again what may never have been synced. A sync that failed left pages in
// the page cache that differ from the disk and that no later sync would write.
func rewrite(f File, size int64) error {
	buf := make([]byte, min(size, maxCallBytes))
	for pos := max(0, size-maxGroupBytes-maxCallBytes); pos < size; {
		part := buf[:min(size-pos, int64(len(buf)))]
		if n, err := f.ReadAt(part, pos); n < len(part) {
			return err
		}
		if _, err := f.WriteAt(part, pos); err != nil {
			return err
		}
		pos += int64(len(part))
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
