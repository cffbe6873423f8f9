package lake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/services/warehouse"
)

const (
	// groupRows is how many rows are skipped, or read, together.
	groupRows = 8192
	// mergedRows is that of files that were made of others: a group has its own dictionary
	// of users, sessions and devices, which is most of what a row costs.
	mergedRows = 4 * groupRows
	// readRows is how many are decoded at a time.
	readRows = 128
	// bloomBits a value: one false answer in about a hundred.
	bloomBits = 10
)

// bloomed are the columns that a search asks for one value of.
func bloomed() []string { return []string{"id", "user_id", "actor_id", "subject", "trace_id"} }

// encode makes the bytes of a file. Rows are put into the order of their times, in which
// a search merges them.
func encode(f warehouse.File, rows []warehouse.Row) ([]byte, error) {
	recs := make([]record, len(rows))
	for i := range rows {
		recs[i] = toRecord(&rows[i])
	}
	slices.SortFunc(recs, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.TimeNanos, b.TimeNanos), cmp.Compare(a.Offset, b.Offset))
	})
	var buf bytes.Buffer
	w := newEncoder(&buf, f, groupRows)
	if _, err := w.Write(recs); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// newEncoder writes a file's rows, which come by time.
func newEncoder(out io.Writer, f warehouse.File, group int64) *parquet.GenericWriter[record] {
	var filters []parquet.BloomFilterColumn
	for _, c := range bloomed() {
		filters = append(filters, parquet.SplitBlockFilter(bloomBits, c))
	}
	return parquet.NewGenericWriter[record](out, append(metadata(f),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		parquet.BloomFilters(filters...),
		parquet.MaxRowsPerRowGroup(group),
		parquet.CreatedBy("segue", "1", ""),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("time"), parquet.Ascending("time_nanos"), parquet.Ascending("offset"))),
	)...)
}

// Rows implements [warehouse.Store].
func (s *Store) Rows(ctx context.Context, f warehouse.File, hint warehouse.Hint) iter.Seq2[warehouse.Row, error] {
	return func(yield func(warehouse.Row, error) bool) {
		obj, err := s.blobs.Open(ctx, s.prefix+f.Name)
		if err != nil {
			yield(warehouse.Row{}, fmt.Errorf("read lake file: %w", err))
			return
		}
		defer func() { _ = obj.Close() }() // only read
		if err := scan(ctx, obj, f, hint, yield); err != nil && !errors.Is(err, errStopped) {
			yield(warehouse.Row{}, fmt.Errorf("read lake file %s: %w", f.Name, err))
		}
	}
}

// errStopped says that the reader has had enough.
var errStopped = errors.New("stopped")

func scan(ctx context.Context, obj blob.Object, f warehouse.File, hint warehouse.Hint, yield func(warehouse.Row, error) bool) error {
	file, err := open(obj)
	if err != nil {
		return err
	}
	batch := make([]record, readRows)
	for _, group := range file.RowGroups() {
		skip, past, err := rulesOut(group, hint)
		if err != nil {
			return err
		}
		if past {
			return nil
		}
		if skip {
			continue
		}
		r := parquet.NewGenericRowGroupReader[record](group)
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return errors.Join(err, r.Close())
			}
			clear(batch) // values of one batch must not share memory with the next
			n, err := read(r, batch)
			if err != nil && !errors.Is(err, io.EOF) {
				return errors.Join(err, r.Close())
			}
			more = err == nil && n > 0
			for i := range n {
				row, err := batch[i].row()
				if err == nil && (row.Topic != f.Topic || row.Partition != f.Partition || row.Offset < f.First || row.Offset >= f.Next) {
					err = fmt.Errorf("%w: row of %s/%d at %d", warehouse.ErrCorrupt, row.Topic, row.Partition, row.Offset)
				}
				if err != nil {
					return errors.Join(err, r.Close())
				}
				if !yield(row, nil) {
					return errors.Join(errStopped, r.Close())
				}
			}
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}

// open reads the footer. The library panics on some damage.
func open(obj blob.Object) (file *parquet.File, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", warehouse.ErrCorrupt, v)
		}
	}()
	file, err = parquet.OpenFile(obj, obj.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", warehouse.ErrCorrupt, err)
	}
	return file, nil
}

func read(r *parquet.GenericReader[record], batch []record) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", warehouse.ErrCorrupt, v)
		}
	}()
	return r.Read(batch)
}

// rulesOut asks a row group's statistics and filters: skip when none of its rows can be
// looked for, past when none of the later groups' can be either.
func rulesOut(group parquet.RowGroup, h warehouse.Hint) (skip, past bool, err error) {
	chunk := func(name string) (*parquet.FileColumnChunk, bool) {
		leaf, ok := group.Schema().Lookup(name)
		if !ok {
			return nil, false
		}
		c, ok := group.ColumnChunks()[leaf.ColumnIndex].(*parquet.FileColumnChunk)
		return c, ok
	}
	if c, ok := chunk("time"); ok {
		if low, high, ok := c.Bounds(); ok {
			if !h.To.IsZero() && !time.UnixMicro(low.Int64()).Before(h.To) {
				return true, true, nil
			}
			if !h.From.IsZero() && time.UnixMicro(high.Int64()+1).Before(h.From) {
				return true, false, nil
			}
		}
	}
	has := func(name, value string) (bool, error) {
		c, ok := chunk(name)
		if !ok {
			return true, nil
		}
		filter := c.BloomFilter()
		if filter == nil {
			return true, nil
		}
		return filter.Check(parquet.ByteArrayValue([]byte(value)))
	}
	if h.Subject != "" {
		found, err := has("subject", h.Subject)
		if err == nil && !found && h.UserID != "" {
			found, err = has("user_id", h.UserID)
		}
		if err != nil || !found {
			return !found, false, err
		}
	}
	for _, c := range []struct{ name, value string }{{"actor_id", h.ActorID}, {"trace_id", h.TraceID}} {
		if c.value == "" {
			continue
		}
		if found, err := has(c.name, c.value); err != nil || !found {
			return !found, false, err
		}
	}
	return false, false, nil
}
