package lake

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/services/warehouse"
)

// What a footer says of its file, beside the columns.
const (
	metaFirst  = "segue.first_offset"
	metaNext   = "segue.next_offset"
	metaOldest = "segue.oldest" // microseconds of Unix time
	metaNewest = "segue.newest"
)

// footersAtOnce is how many are read at a time.
const footersAtOnce = 16

func metadata(f warehouse.File) []parquet.WriterOption {
	option := func(name string, v int64) parquet.WriterOption {
		return parquet.KeyValueMetadata(name, strconv.FormatInt(v, 10))
	}
	return []parquet.WriterOption{
		option(metaFirst, f.First), option(metaNext, f.Next), option(metaOldest, f.Oldest.UnixMicro()), option(metaNewest, f.Newest.UnixMicro()),
	}
}

// describeAll completes files whose names do not say all. One whose footer cannot be read
// is as one that is lost, until the next listing. It is called with mu held.
func (s *Store) describeAll(ctx context.Context, files []warehouse.File) ([]warehouse.File, error) {
	eg, gctx := errgroup.WithContext(ctx)
	eg.SetLimit(footersAtOnce)
	for i, f := range files {
		if f.Next > 0 {
			continue
		}
		if known, ok := s.known[f.Name]; ok {
			files[i] = known
			continue
		}
		eg.Go(func() error {
			full, err := s.footer(gctx, f)
			switch {
			case err == nil:
				files[i] = full
			case errors.Is(err, warehouse.ErrCorrupt):
				s.log.ErrorContext(gctx, "a file of the lake is damaged and left out", "file", f.Name, "err", err)
			case !errors.Is(err, blob.ErrNotFound): // removed since it was listed
				return err
			}
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	whole := files[:0]
	for _, f := range files {
		if f.Next > 0 {
			s.known[f.Name] = f
			whole = append(whole, f)
		}
	}
	return whole, nil
}

// footer completes a file by what is stored.
func (s *Store) footer(ctx context.Context, f warehouse.File) (warehouse.File, error) {
	obj, err := s.blobs.Open(ctx, s.prefix+f.Name)
	if err != nil {
		return f, fmt.Errorf("read footer: %w", err)
	}
	defer func() { _ = obj.Close() }() // only read
	file, err := open(obj)
	if err != nil {
		return f, fmt.Errorf("read footer of %s: %w", f.Name, err)
	}
	var first, oldest, newest int64
	for name, v := range map[string]*int64{metaFirst: &first, metaNext: &f.Next, metaOldest: &oldest, metaNewest: &newest} {
		text, _ := file.Lookup(name)
		if *v, err = strconv.ParseInt(text, 10, 64); err != nil {
			return f, fmt.Errorf("read footer of %s: %w: %s is %q", f.Name, warehouse.ErrCorrupt, name, text)
		}
	}
	if first != f.First || f.Next <= first {
		return f, fmt.Errorf("read footer of %s: %w: offsets %d to %d", f.Name, warehouse.ErrCorrupt, first, f.Next)
	}
	f.Oldest, f.Newest = micros(oldest), micros(newest)
	return f, nil
}
