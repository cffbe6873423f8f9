// Package lake keeps events as Parquet files in a blob store, laid out for Spark,
// BigQuery and DuckDB: topic=T/date=YYYY-MM-DD/hour=HH/pPARTITION-FIRST.parquet. The hour
// is that of the log's time. A name says of which offset on a file is, and is taken once:
// where the file ends, and between which times its events happened, is in its footer.
package lake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/services/warehouse"
)

const (
	suffix  = ".parquet"
	relist  = 10 * time.Minute // how late files of other processes are seen
	signBit = 1 << 63          // orders negative times below the others
)

// Options of [Open].
type Options struct {
	// Prefix of all keys, "lake/" when empty.
	Prefix string
	Now    func() time.Time // time.Now when nil
	Log    *slog.Logger     // slog.Default when nil
}

// Store is a [warehouse.Store] in a blob store.
type Store struct {
	blobs  blob.Store
	prefix string
	now    func() time.Time

	log *slog.Logger

	mu     sync.Mutex
	known  map[string]warehouse.File // by name, what footers said
	read   map[string]*manifest      // by folder
	files  []warehouse.File          // replaced, never changed
	listed time.Time                 // zero: list again
}

var _ warehouse.Store = (*Store)(nil)

// Open reads which files there are.
func Open(ctx context.Context, blobs blob.Store, opt Options) (*Store, error) {
	if opt.Prefix == "" {
		opt.Prefix = "lake/"
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	s := &Store{blobs: blobs, prefix: opt.Prefix, now: opt.Now, log: opt.Log, known: map[string]warehouse.File{}}
	if _, err := s.Files(ctx); err != nil {
		return nil, fmt.Errorf("open lake: %w", err)
	}
	return s, nil
}

// Files implements [warehouse.Store].
func (s *Store) Files(ctx context.Context) ([]warehouse.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := s.now().Sub(s.listed); !s.listed.IsZero() && age >= 0 && age < relist {
		return s.files, nil
	}
	at := s.now()
	published, err := s.manifests(ctx)
	if err != nil {
		return nil, fmt.Errorf("list lake: %w", err)
	}
	var files []warehouse.File
	for folder, m := range published {
		topic, _, _ := strings.Cut(strings.TrimPrefix(folder, "topic="), "/")
		for i := range m.Files {
			files = append(files, m.Files[i].file(topic))
		}
	}
	for info, err := range s.blobs.List(ctx, s.prefix) {
		if err != nil {
			return nil, fmt.Errorf("list lake: %w", err)
		}
		f, ok := parse(strings.TrimPrefix(info.Key, s.prefix))
		if !ok {
			continue
		}
		folder, _, _ := hourOf(f)
		if m := published[folder]; m == nil || !m.covers(f) { // else it is listed, or was replaced
			files = append(files, f)
		}
	}
	files, err = s.describeAll(ctx, files)
	if err != nil {
		return nil, fmt.Errorf("list lake: %w", err)
	}
	slices.SortFunc(files, order)
	s.files, s.listed = files, at
	return files, nil
}

func order(a, b warehouse.File) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First), cmp.Compare(b.Next, a.Next))
}

// Write implements [warehouse.Store].
func (s *Store) Write(ctx context.Context, first int64, rows []warehouse.Row) (warehouse.File, error) {
	if err := check(first, rows); err != nil {
		return warehouse.File{}, fmt.Errorf("write lake file: %w", err)
	}
	f := describe(first, rows)
	b, err := encode(f, rows)
	if err != nil {
		return warehouse.File{}, fmt.Errorf("encode lake file: %w", err)
	}
	err = s.blobs.Put(ctx, s.prefix+f.Name, bytes.NewReader(b), blob.PutOptions{IfAbsent: true, Size: int64(len(b))})
	if errors.Is(err, blob.ErrExists) {
		f, err = s.footer(ctx, f) // another writer's, or ours of an earlier try
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.listed = time.Time{} // it may be there in spite of the error
		return warehouse.File{}, fmt.Errorf("write lake file: %w", err)
	}
	s.known[f.Name] = f
	if i, ok := slices.BinarySearchFunc(s.files, f, order); !ok {
		s.files = slices.Insert(slices.Clone(s.files), i, f)
	}
	return f, nil
}

// check refuses rows that one file cannot hold.
func check(first int64, rows []warehouse.Row) error {
	if len(rows) == 0 || first < 0 || first > rows[0].Offset {
		return fmt.Errorf("%w: %d rows from offset %d", warehouse.ErrRows, len(rows), first)
	}
	a := &rows[0]
	for i := range rows {
		r := &rows[i]
		switch {
		case r.Topic != a.Topic, r.Partition != a.Partition:
			return fmt.Errorf("%w: %s/%d and %s/%d", warehouse.ErrRows, a.Topic, a.Partition, r.Topic, r.Partition)
		case i > 0 && r.Offset <= rows[i-1].Offset:
			return fmt.Errorf("%w: offset %d after %d", warehouse.ErrRows, r.Offset, rows[i-1].Offset)
		case !hour(r.LogTime).Equal(hour(a.LogTime)):
			return fmt.Errorf("%w: two hours", warehouse.ErrRows)
		case r.Envelope != nil && r.Envelope.GetTime().CheckValid() != nil:
			return fmt.Errorf("%w: offset %d has no valid time", warehouse.ErrRows, r.Offset)
		}
	}
	return nil
}

func hour(t time.Time) time.Time { return t.UTC().Truncate(time.Hour) }

// describe names the file of rows.
func describe(first int64, rows []warehouse.Row) warehouse.File {
	a, z := &rows[0], &rows[len(rows)-1]
	f := warehouse.File{Topic: a.Topic, Partition: a.Partition, First: first, Next: z.Offset + 1}
	oldest, newest := a.Time().UnixMicro(), a.Time().UnixMicro()
	for i := range rows {
		t := rows[i].Time().UnixMicro()
		oldest, newest = min(oldest, t), max(newest, t)
	}
	newest++ // rows are kept to the nanosecond
	f.Oldest, f.Newest = micros(oldest), micros(newest)
	h := hour(a.LogTime)
	f.Name = fmt.Sprintf("topic=%s/date=%s/hour=%s/p%05d-%019d%s", f.Topic, h.Format(time.DateOnly), h.Format("15"), f.Partition, f.First, suffix)
	return f
}

// parse reads a name; not ok for what is no file of ours. Next is 0 where only the footer
// knows.
func parse(name string) (warehouse.File, bool) {
	f := warehouse.File{Name: name}
	dirs := strings.Split(name, "/")
	if len(dirs) != 4 {
		return f, false
	}
	topic, ok := strings.CutPrefix(dirs[0], "topic=")
	base, ok2 := strings.CutSuffix(dirs[3], suffix)
	base, ok3 := strings.CutPrefix(base, "p")
	parts := strings.Split(base, "-")
	if !ok || !ok2 || !ok3 || topic == "" || (len(parts) != 2 && len(parts) != 5) {
		return f, false
	}
	p, err1 := strconv.ParseInt(parts[0], 10, 32)
	first, err2 := strconv.ParseInt(parts[1], 10, 64)
	if errors.Join(err1, err2) != nil || p < 0 || first < 0 {
		return f, false
	}
	f.Topic, f.Partition, f.First = topic, int32(p), first
	if len(parts) == 2 {
		return f, true
	}
	// Files of before writers could be several said it all in their names.
	next, err3 := strconv.ParseInt(parts[2], 10, 64)
	oldest, err4 := strconv.ParseUint(parts[3], 16, 64)
	newest, err5 := strconv.ParseUint(parts[4], 16, 64)
	if errors.Join(err3, err4, err5) != nil || next <= first {
		return f, false
	}
	f.Next, f.Oldest, f.Newest = next, micros(int64(oldest^signBit)), micros(int64(newest^signBit))
	return f, true
}

func micros(t int64) time.Time { return time.UnixMicro(t).UTC() }
