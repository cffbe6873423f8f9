package lake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/services/warehouse"
)

const (
	compacted = "compact/" // compact/topic=T/date=D/hour=HH/pPARTITION-FIRST-NEXT.parquet
	// maxCompact bounds the bytes of files that become one, which is made in memory.
	maxCompact = 128 << 20
	// keepReplaced is how long a file that was replaced can be read: by who listed it before.
	keepReplaced = 24 * time.Hour
)

// stored is a file that a writer made, and its size.
type stored struct {
	warehouse.File
	size int64
}

// Compact implements [warehouse.Store]. Large files are made beside the old ones; the
// manifest that names them is what makes them count.
func (s *Store) Compact(ctx context.Context, closed func(topic string, hour time.Time) bool) (int, error) {
	hours := map[string][]stored{}
	for info, err := range s.blobs.List(ctx, s.prefix) {
		if err != nil {
			return 0, fmt.Errorf("compact lake: %w", err)
		}
		f, ok := parse(strings.TrimPrefix(info.Key, s.prefix))
		if !ok {
			continue
		}
		if folder, hour, ok := hourOf(f); ok && closed(f.Topic, hour) {
			hours[folder] = append(hours[folder], stored{f, info.Size})
		}
	}
	s.mu.Lock()
	published, err := s.manifests(ctx)
	s.mu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("compact lake: %w", err)
	}
	changed := 0
	var errs []error
	for folder, files := range hours {
		did, err := s.compactHour(ctx, folder, files, published[folder])
		if err != nil {
			errs = append(errs, fmt.Errorf("compact %s: %w", folder, err))
		}
		if did {
			changed++
		}
	}
	if changed > 0 {
		s.mu.Lock()
		s.listed = time.Time{}
		s.mu.Unlock()
	}
	return changed, errors.Join(errs...)
}

// compactHour publishes an hour where files are in no manifest of it, and else removes
// what was replaced long ago.
func (s *Store) compactHour(ctx context.Context, folder string, files []stored, last *manifest) (bool, error) {
	next := &manifest{name: folder}
	var fresh []stored
	for _, f := range files {
		switch {
		case last == nil || !last.covers(f.File):
			fresh = append(fresh, f)
		case !last.lists(f.File) && s.now().Sub(last.written) > keepReplaced:
			if err := s.blobs.Delete(ctx, s.prefix+f.Name); err != nil && !errors.Is(err, blob.ErrNotFound) {
				return false, err
			}
		}
	}
	if len(fresh) == 0 {
		return false, nil
	}
	if last != nil {
		next.version, next.Files = last.version+1, slices.Clone(last.Files)
	}
	if err := s.complete(ctx, fresh); err != nil {
		return false, err
	}
	for _, run := range runs(fresh) {
		f := run[0].File
		if len(run) > 1 {
			var err error
			if f, err = s.merge(ctx, folder, run); err != nil {
				return false, err
			}
		}
		next.Files = append(next.Files, manifestFile{f.Name, f.Partition, f.First, f.Next, f.Oldest.UnixMicro(), f.Newest.UnixMicro()})
	}
	slices.SortFunc(next.Files, func(a, b manifestFile) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First))
	})
	return s.publish(ctx, next)
}

// complete reads the footers of files whose names do not say all.
func (s *Store) complete(ctx context.Context, files []stored) error {
	for i, f := range files {
		if f.Next > 0 {
			continue
		}
		full, err := s.footer(ctx, f.File)
		if err != nil {
			return err // also where it is damaged: an hour is published whole
		}
		files[i].File = full
	}
	return nil
}

// runs are the files that become one: of one partition, each where the one before ends.
func runs(files []stored) (out [][]stored) {
	slices.SortFunc(files, func(a, b stored) int { return order(a.File, b.File) })
	size := int64(0)
	for i, f := range files {
		if i > 0 && files[i-1].Partition == f.Partition && files[i-1].Next == f.First && size+f.size <= maxCompact {
			out[len(out)-1] = append(out[len(out)-1], f)
			size += f.size
			continue
		}
		out, size = append(out, []stored{f}), f.size
	}
	return out
}

// merge makes one file of a run's.
func (s *Store) merge(ctx context.Context, folder string, run []stored) (warehouse.File, error) {
	f := run[0].File
	for _, r := range run[1:] {
		f.Next = r.Next
		if r.Oldest.Before(f.Oldest) {
			f.Oldest = r.Oldest
		}
		if r.Newest.After(f.Newest) {
			f.Newest = r.Newest
		}
	}
	f.Name = fmt.Sprintf("%s%s/p%05d-%019d-%019d%s", compacted, folder, f.Partition, f.First, f.Next, suffix)
	var buf bytes.Buffer
	w := newEncoder(&buf, f, mergedRows)
	batch := make([]record, 0, readRows)
	for row, err := range s.merged(ctx, run) {
		if err != nil {
			return f, err
		}
		if batch = append(batch, toRecord(&row)); len(batch) == cap(batch) {
			if _, err := w.Write(batch); err != nil {
				return f, err
			}
			batch = batch[:0]
		}
	}
	if _, err := w.Write(batch); err != nil {
		return f, err
	}
	if err := w.Close(); err != nil {
		return f, err
	}
	err := s.blobs.Put(ctx, s.prefix+f.Name, &buf, blob.PutOptions{IfAbsent: true, Size: int64(buf.Len())})
	if err != nil && !errors.Is(err, blob.ErrExists) { // then with the same rows
		return f, fmt.Errorf("write merged file: %w", err)
	}
	return f, nil
}

// merged yields the rows of a run by Time, then Offset.
func (s *Store) merged(ctx context.Context, run []stored) iter.Seq2[warehouse.Row, error] {
	return func(yield func(warehouse.Row, error) bool) {
		type source struct {
			row  warehouse.Row
			next func() (warehouse.Row, error, bool)
		}
		var sources []*source
		for _, r := range run {
			next, stop := iter.Pull2(s.Rows(ctx, r.File, warehouse.Hint{}))
			defer stop()
			sources = append(sources, &source{next: next})
		}
		step := func(src *source) (more bool, err error) {
			src.row, err, more = src.next()
			return more, err
		}
		fill := slices.Clone(sources)
		for len(sources) > 0 {
			for _, src := range fill {
				more, err := step(src)
				if err != nil {
					yield(warehouse.Row{}, err)
					return
				}
				if !more {
					sources = slices.DeleteFunc(sources, func(o *source) bool { return o == src })
				}
			}
			if len(sources) == 0 {
				return
			}
			first := slices.MinFunc(sources, func(a, b *source) int {
				return cmp.Or(a.row.Time().Compare(b.row.Time()), cmp.Compare(a.row.Offset, b.row.Offset))
			})
			if !yield(first.row, nil) {
				return
			}
			fill = []*source{first}
		}
	}
}
