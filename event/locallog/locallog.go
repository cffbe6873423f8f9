// Package locallog is the embedded event log: per topic one partition of segment files,
// appended in groups with one fdatasync each, every record under a CRC-32C.
//
// Append returns after the sync of its group. The first caller of a group writes for all
// that join while the group before it is on its way to the disk, so no goroutine of the
// log's own is needed.
//
// A failed sync is the end: the kernel may have dropped the pages and would report the
// next sync as good, so the log refuses everything from then on with [event.ErrFailed] and
// tells Options.OnFail, which stops the process. Opened anew, it writes again what only
// the page cache may hold.
//
// A full disk is not: where a write, a new segment or a group's offsets find no room, the
// calls of that group get the error of the system (ENOSPC), what was written half is cut
// off, and the log goes on once there is room. Only where a sync itself reports it, as
// network and copy-on-write file systems may, it is a failed sync.
//
// What cannot come of a crash is [event.ErrCorrupt]: of a closed segment or of offsets
// when they are read, of the last segment when the log is opened and more than one group
// behind its last good record is unreadable. Nothing is cut off then.
package locallog

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segue-music/segue/event"
)

// Options of [Open]. The zero value is right for a server.
type Options struct {
	// Now is the log's clock; nil is time.Now.
	Now func() time.Time
	// OnFail is called once, with the cause, when the log stops for good; nil ignores.
	OnFail func(error)
	// SegmentBytes is the size from which a new segment is begun; 0 is 64 MiB.
	SegmentBytes int64
	// Retention replaces the topics' own, where it is not nil; 0 is forever.
	Retention func(topic string) time.Duration
}

// Log is an [event.Log] on one folder.
type Log struct {
	fs     FS
	opt    Options
	table  *crc32.Table
	topics map[string]*topicLog
	groups groups

	down     atomic.Bool // failed or closed
	failOnce sync.Once
	failed   chan struct{} // closed after failErr is set
	failErr  error

	closeOnce sync.Once
	closed    chan struct{}
}

var _ event.Log = (*Log)(nil)

// Open opens or makes the log in dir, which one process at a time may use, and cuts
// what a crash left unfinished.
func Open(dir string, opt Options) (*Log, error) {
	disk, err := DirFS(dir)
	if err != nil {
		return nil, err
	}
	l, err := OpenFS(disk, opt)
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	return l, nil
}

// OpenFS is Open on another disk, which the log then owns.
func OpenFS(disk FS, opt Options) (*Log, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.SegmentBytes <= 0 {
		opt.SegmentBytes = 64 << 20
	}
	l := &Log{
		fs: disk, opt: opt, table: crc32.MakeTable(crc32.Castagnoli), topics: map[string]*topicLog{},
		failed: make(chan struct{}), closed: make(chan struct{}),
	}
	names := []string{groupsDir}
	for _, t := range event.Topics() {
		names = append(names, t.Name)
	}
	for _, name := range names {
		if err := disk.Mkdir(name); err != nil {
			return nil, fmt.Errorf("open event log: %w", err)
		}
	}
	if err := disk.SyncDir(".", SiteRoot); err != nil {
		return nil, fmt.Errorf("open event log: %w", err)
	}
	l.groups.open(l)
	for _, t := range event.Topics() {
		keep := t.Retention
		if opt.Retention != nil {
			keep = opt.Retention(t.Name)
		}
		tl, err := openTopic(l, t.Name, keep)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open topic %s: %w", t.Name, err), l.closeFiles())
		}
		l.topics[t.Name] = tl
	}
	return l, nil
}

func (l *Log) topic(name string, partition int32) (*topicLog, error) {
	t, ok := l.topics[name]
	if !ok || partition != 0 {
		return nil, fmt.Errorf("%w: %q partition %d", event.ErrTopic, name, partition)
	}
	return t, nil
}

// alive is nil while the log may write.
func (l *Log) alive() error {
	if !l.down.Load() {
		return nil
	}
	select {
	case <-l.failed:
		return l.failErr
	default:
		return event.ErrClosed
	}
}

func (l *Log) fail(cause error) error {
	l.failOnce.Do(func() {
		l.failErr = fmt.Errorf("%w: %w", event.ErrFailed, cause)
		close(l.failed)
		l.down.Store(true)
		if l.opt.OnFail != nil {
			l.opt.OnFail(l.failErr)
		}
	})
	return l.failErr
}

// Append implements [event.Log].
func (l *Log) Append(ctx context.Context, recs ...event.Record) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	for i := range recs {
		if _, err := l.topic(recs[i].Topic, 0); err != nil {
			return fmt.Errorf("append: %w", err)
		}
		if err := recs[i].CheckSize(); err != nil {
			return fmt.Errorf("append to %s: %w", recs[i].Topic, err)
		}
	}
	for len(recs) > 0 {
		n := 1
		for n < len(recs) && recs[n].Topic == recs[0].Topic {
			n++
		}
		if err := l.topics[recs[0].Topic].append(ctx, recs[:n]); err != nil {
			return fmt.Errorf("append to %s: %w", recs[0].Topic, err)
		}
		recs = recs[n:]
	}
	return nil
}

// Partitions implements [event.Log]: one per topic.
func (l *Log) Partitions(_ context.Context, topic string) (int32, error) {
	if _, err := l.topic(topic, 0); err != nil {
		return 0, err
	}
	return 1, nil
}

// Bounds implements [event.Log].
func (l *Log) Bounds(_ context.Context, topic string, partition int32) (first, next int64, err error) {
	t, err := l.topic(topic, partition)
	if err != nil {
		return 0, 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.segments[0].base, t.durable, nil
}

// Trim removes the segments of which every record is older than its topic's retention.
func (l *Log) Trim(ctx context.Context) error {
	for _, t := range l.topics {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.alive(); err != nil {
			return err
		}
		if err := t.trim(); err != nil {
			return fmt.Errorf("trim topic %s: %w", t.name, err)
		}
	}
	return nil
}

// Discard gives back the disk space of a topic's records below before, in whole segments;
// all of it where none are left. Offsets go on as if nothing had happened.
func (l *Log) Discard(topic string, before int64) error {
	t, err := l.topic(topic, 0)
	if err == nil {
		err = l.alive()
	}
	if err == nil {
		err = t.discard(before)
	}
	if err != nil {
		return fmt.Errorf("discard records of %s: %w", topic, err)
	}
	return nil
}

// Close implements [event.Log].
func (l *Log) Close() (err error) {
	l.closeOnce.Do(func() {
		close(l.closed)
		l.down.Store(true)
		err = l.closeFiles()
	})
	return err
}

func (l *Log) closeFiles() error {
	var errs []error
	for _, t := range l.topics {
		t.flushing.Lock() // waits for the group on its way to the disk
		errs = append(errs, t.active.Close())
		t.flushing.Unlock()
	}
	return errors.Join(append(errs, l.fs.Close())...)
}
