package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
)

const locallogAcks = "Append has returned: the group of which the call was a part is written and one fdatasync covers it, " +
	"each record under a CRC-32C. Calls that come while a group is on its way to the disk make up the next."

func openLocallog(_ context.Context, dir string, size int) (running, error) {
	disk, err := locallog.DirFS(filepath.Join(dir, "log"))
	if err != nil {
		return running{}, err
	}
	counted := &countingFS{FS: disk}
	log, err := locallog.OpenFS(counted, locallog.Options{})
	if err != nil {
		return running{}, err
	}
	return running{
		producer: func(i int) (func(context.Context, int) error, error) {
			rec := event.Record{Topic: event.Playback, Key: fmt.Appendf(nil, "%0*d", keyBytes, i), Value: bytes.Repeat([]byte{'v'}, size-keyBytes)}
			var recs []event.Record
			return func(ctx context.Context, n int) error {
				for len(recs) < n {
					recs = append(recs, rec)
				}
				return log.Append(ctx, recs[:n]...)
			}, nil
		},
		count: func(ctx context.Context) (int64, error) {
			_, next, err := log.Bounds(ctx, event.Playback, 0)
			return next, err
		},
		syncs: counted.syncs.Load,
		close: log.Close,
	}, nil
}

// countingFS is the disk; it counts how often the log waits for data.
type countingFS struct {
	locallog.FS
	syncs atomic.Int64
}

func (c *countingFS) Create(name string) (locallog.File, error) {
	f, err := c.FS.Create(name)
	return countingFile{f, c}, err
}

func (c *countingFS) Open(name string) (locallog.File, error) {
	f, err := c.FS.Open(name)
	return countingFile{f, c}, err
}

type countingFile struct {
	locallog.File
	disk *countingFS
}

func (f countingFile) Sync(site locallog.Site) error {
	f.disk.syncs.Add(1)
	return f.File.Sync(site)
}
