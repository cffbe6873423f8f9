package locallog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sort"
	"time"

	"github.com/segue-music/segue/event"
)

// Read implements [event.Log].
func (l *Log) Read(ctx context.Context, topic string, partition int32, offset int64, follow bool) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		t, err := l.topic(topic, partition)
		if err != nil {
			yield(event.Record{}, err)
			return
		}
		c := cursor{t: t, next: offset, end: -1}
		if !follow {
			_, c.end, _ = l.Bounds(ctx, topic, partition)
		}
		defer c.drop()
		for {
			rec, err := c.read(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(event.Record{}, fmt.Errorf("read %s: %w", topic, err))
				return
			}
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// cursor walks a topic across its segments.
type cursor struct {
	t    *topicLog
	next int64
	end  int64 // io.EOF from this offset on; -1 follows

	file  File
	seg   *segment
	limit int64 // durable bytes of seg when last asked
	scan  scanner
}

func (c *cursor) drop() {
	if c.file != nil {
		_ = c.file.Close() // only read
		c.file = nil
	}
}

func (c *cursor) read(ctx context.Context) (event.Record, error) {
	for {
		if err := ctx.Err(); err != nil {
			return event.Record{}, err
		}
		if c.end >= 0 && c.next >= c.end {
			return event.Record{}, io.EOF
		}
		if c.file == nil || c.scan.pos >= c.limit {
			if err := c.advance(ctx); err != nil {
				return event.Record{}, err
			}
			continue
		}
		f, err := c.scan.next(c.limit)
		if errors.Is(err, errTorn) || (err == nil && f.offset > c.next) {
			return event.Record{}, fmt.Errorf("%w: offset %d is not in segment %d", event.ErrCorrupt, c.next, c.seg.base)
		}
		if err != nil {
			return event.Record{}, err
		}
		if f.offset < c.next {
			continue // between the mark and the offset asked for
		}
		c.next++
		return f.record(c.t.name)
	}
}

// advance finds bytes to scan: more of this segment, the next one, or it waits.
func (c *cursor) advance(ctx context.Context) error {
	t := c.t
	t.mu.Lock()
	c.next = max(c.next, t.segments[0].base)
	if c.next >= t.durable {
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-t.log.failed:
			return t.log.failErr
		case <-t.log.closed:
			return event.ErrClosed
		}
		return nil
	}
	i := sort.Search(len(t.segments), func(i int) bool { return t.segments[i].base > c.next }) - 1
	seg := t.segments[i]
	limit, known := seg.size, seg.known
	t.mu.Unlock()
	if seg == c.seg && c.file != nil {
		if limit <= c.limit {
			return fmt.Errorf("%w: segment %d ends before offset %d", event.ErrCorrupt, seg.base, c.next)
		}
		c.limit = limit
		return nil
	}
	c.drop()
	if !known && c.next > seg.base {
		if _, _, err := t.learn(seg); err != nil {
			return trimmed(err)
		}
	}
	f, err := t.log.fs.Open(seg.name(t.name))
	if err != nil {
		return trimmed(err)
	}
	t.mu.Lock()
	pos := int64(0)
	if j := sort.Search(len(seg.marks), func(j int) bool { return seg.marks[j].offset > c.next }); j > 0 {
		pos = seg.marks[j-1].pos
	}
	t.mu.Unlock()
	c.file, c.seg, c.limit = f, seg, limit
	c.scan = scanner{r: f, table: t.log.table, pos: pos, buf: c.scan.buf}
	return nil
}

// trimmed swallows that a segment was removed between looking it up and opening it: the
// next look-up finds the oldest that is left.
func trimmed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// OffsetAt implements [event.Log].
func (l *Log) OffsetAt(ctx context.Context, topic string, partition int32, at time.Time) (int64, error) {
	t, err := l.topic(topic, partition)
	if err != nil {
		return 0, err
	}
	from, next, err := t.before(at.UnixNano())
	if err != nil {
		return 0, fmt.Errorf("seek in %s: %w", topic, err)
	}
	for rec, err := range l.Read(ctx, topic, partition, from, false) {
		if err != nil {
			return 0, err
		}
		if !rec.Time.Before(at) {
			return rec.Offset, nil
		}
	}
	return next, nil
}

// before is an offset whose record, if any, is older than nanos and near the first that
// is not.
func (t *topicLog) before(nanos int64) (from, next int64, err error) {
	t.mu.Lock()
	segments, next := t.segments, t.durable
	t.mu.Unlock()
	from = segments[0].base
	for _, seg := range segments {
		t.mu.Lock()
		known := seg.known
		t.mu.Unlock()
		if !known {
			if _, _, err := t.learn(seg); err != nil {
				if trimmed(err) == nil {
					continue
				}
				return 0, 0, err
			}
		}
		t.mu.Lock()
		j := sort.Search(len(seg.marks), func(j int) bool { return seg.marks[j].nanos >= nanos })
		if j > 0 {
			from = seg.marks[j-1].offset
		}
		later := j < len(seg.marks)
		t.mu.Unlock()
		if later {
			break
		}
	}
	return from, next, nil
}
