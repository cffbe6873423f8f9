package locallog

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
)

const (
	groupsDir = "groups"
	// commitEvery bounds what a crash makes a consumer handle again.
	commitEvery = 256
	// maxGroupFile bounds what is read of a group's file: a line for every topic.
	maxGroupFile = 64 << 10
)

// groups are the consumers' offsets, one small file each, replaced as a whole.
type groups struct {
	log    *Log
	mu     sync.Mutex
	groups map[string]map[string]int64 // by group and topic, what is on disk
	leases map[string]chan struct{}    // by group and topic, holds a token while consumed
}

func (g *groups) open(l *Log) {
	g.log, g.groups, g.leases = l, map[string]map[string]int64{}, map[string]chan struct{}{}
}

// Commit implements [event.Log].
func (l *Log) Commit(_ context.Context, group, topic string, partition int32, next int64) error {
	t, err := l.topic(topic, partition)
	if err != nil {
		return err
	}
	if next < 0 {
		return fmt.Errorf("commit %s of %s: offset %d is negative", topic, group, next)
	}
	if err := l.alive(); err != nil {
		return err
	}
	if err := l.groups.commit(group, t.name, next); err != nil {
		return fmt.Errorf("commit %s of %s: %w", topic, group, err)
	}
	return nil
}

// Committed implements [event.Log].
func (l *Log) Committed(_ context.Context, group, topic string, partition int32) (int64, error) {
	if _, err := l.topic(topic, partition); err != nil {
		return 0, err
	}
	l.groups.mu.Lock()
	defer l.groups.mu.Unlock()
	offsets, err := l.groups.load(group)
	if err != nil {
		return 0, fmt.Errorf("read offsets of %s: %w", group, err)
	}
	return offsets[topic], nil
}

// load is called with mu held.
func (g *groups) load(group string) (map[string]int64, error) {
	if err := event.CheckGroup(group); err != nil {
		return nil, err
	}
	if o, ok := g.groups[group]; ok {
		return o, nil
	}
	offsets := map[string]int64{}
	f, err := g.log.fs.Open(groupsDir + "/" + group)
	if err == nil {
		defer f.Close()
		offsets, err = g.read(f)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	g.groups[group] = offsets
	return offsets, nil
}

func (g *groups) read(f File) (map[string]int64, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxGroupFile {
		return nil, fmt.Errorf("%w: offsets of %d bytes", event.ErrCorrupt, size)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); int64(n) < size {
		return nil, err
	}
	sum, body, ok := strings.Cut(string(b), "\n")
	if !ok || sum != g.checksum(body) {
		return nil, fmt.Errorf("%w: checksum of offsets", event.ErrCorrupt)
	}
	offsets := map[string]int64{}
	for line := range strings.Lines(body) {
		var topic string
		var next int64
		if _, err := fmt.Sscanf(line, "%s %d\n", &topic, &next); err != nil {
			return nil, fmt.Errorf("%w: line of offsets: %w", event.ErrCorrupt, err)
		}
		if next < 0 {
			return nil, fmt.Errorf("%w: offset %d", event.ErrCorrupt, next)
		}
		offsets[topic] = next
	}
	return offsets, nil
}

func (g *groups) checksum(body string) string {
	return fmt.Sprintf("crc32c %08x", crc32.Checksum([]byte(body), g.log.table))
}

func (g *groups) commit(group, topic string, next int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, err := g.load(group)
	if err != nil {
		return err
	}
	offsets := map[string]int64{topic: next}
	for t, o := range old {
		if t != topic {
			offsets[t] = o
		}
	}
	if err := g.replace(group, offsets); err != nil {
		return err
	}
	g.groups[group] = offsets
	return nil
}

// replace writes beside and renames: the file is the old one or the new one.
func (g *groups) replace(group string, offsets map[string]int64) (err error) {
	var body strings.Builder
	topics := make([]string, 0, len(offsets))
	for t := range offsets {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	for _, t := range topics {
		fmt.Fprintf(&body, "%s %d\n", t, offsets[t])
	}
	name := groupsDir + "/" + group
	tmp := name + ".tmp"
	f, err := g.log.fs.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(g.checksum(body.String())+"\n"+body.String()), 0)
	if err == nil {
		if err = f.Sync(SiteOffsets); err != nil {
			err = g.log.fail(err)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := g.log.fs.Rename(tmp, name); err != nil {
		return err
	}
	if err := g.log.fs.SyncDir(groupsDir, SiteOffsetsDir); err != nil {
		return g.log.fail(err)
	}
	return nil
}

// lease waits until no other Consume of the group has the topic.
func (g *groups) lease(ctx context.Context, group, topic string) (release func(), err error) {
	g.mu.Lock()
	key := group + " " + topic
	c, ok := g.leases[key]
	if !ok {
		c = make(chan struct{}, 1)
		g.leases[key] = c
	}
	g.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Consume implements [event.Log].
func (l *Log) Consume(ctx context.Context, group string, topics []string, handle event.Handler) error {
	err := l.each(ctx, group, topics, func(ctx context.Context, topic string) error { return l.consume(ctx, group, topic, handle) })
	if err != nil {
		return fmt.Errorf("consume as %s: %w", group, err)
	}
	return nil
}

// Divide implements [event.Log].
func (l *Log) Divide(ctx context.Context, group string, topics []string, work func(context.Context, event.Portion) error) error {
	err := l.each(ctx, group, topics, func(ctx context.Context, topic string) error {
		p := event.Portion{Topic: topic, Commit: func(ctx context.Context, next int64) error { return l.Commit(ctx, group, topic, 0, next) }}
		if err := work(ctx, p); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("divide as %s: %w", group, err)
	}
	return nil
}

// each calls work with every topic when it is the group's only one to have it.
func (l *Log) each(ctx context.Context, group string, topics []string, work func(ctx context.Context, topic string) error) error {
	if err := event.CheckGroup(group); err != nil {
		return err
	}
	for _, topic := range topics {
		if _, err := l.topic(topic, 0); err != nil {
			return err
		}
	}
	eg, ctx := errgroup.WithContext(ctx)
	for _, topic := range topics {
		eg.Go(func() error {
			release, err := l.groups.lease(ctx, group, topic)
			if err != nil {
				return err
			}
			defer release()
			return work(ctx, topic)
		})
	}
	return eg.Wait()
}

func (l *Log) consume(ctx context.Context, group, topic string, handle event.Handler) (err error) {
	done, err := l.Committed(ctx, group, topic, 0)
	if err != nil {
		return err
	}
	next := done
	commit := func() error {
		if next == done {
			return nil
		}
		done = next
		return l.Commit(context.WithoutCancel(ctx), group, topic, 0, next)
	}
	defer func() { err = errors.Join(err, commit()) }()
	for rec, err := range l.Read(ctx, topic, 0, next, true) {
		if err != nil {
			return err
		}
		if err := handle(ctx, rec); err != nil {
			return err
		}
		next = rec.Offset + 1
		_, head, err := l.Bounds(ctx, topic, 0)
		if err != nil {
			return err
		}
		if next-done >= commitEvery || next >= head {
			if err := commit(); err != nil {
				return err
			}
		}
	}
	return nil
}
