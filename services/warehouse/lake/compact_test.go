package lake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
	"github.com/segue-music/segue/services/warehouse/storetest"
)

// small writes n files of one hour.
func small(t *testing.T, s *lake.Store, n int) {
	t.Helper()
	for i := range int64(n) {
		if _, err := s.Write(t.Context(), i, []warehouse.Row{storetest.Row(i, time.Unix(1000-i, 0))}); err != nil {
			t.Fatal(err)
		}
	}
}

func past(string, time.Time) bool { return true }

func keys(t *testing.T, b blob.Store) (n int) {
	t.Helper()
	for _, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestCompact_Removes: what was replaced is there for a day, and not for ever.
func TestCompact_Removes(t *testing.T) {
	b, now := local(t), time.Now()
	s, err := lake.Open(t.Context(), b, lake.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	small(t, s, 5)
	for _, step := range []struct {
		after time.Duration
		want  int // five, or none, the merged one and the manifest
	}{{0, 7}, {23 * time.Hour, 7}, {2 * time.Hour, 2}} {
		now = now.Add(step.after)
		if _, err := s.Compact(t.Context(), past); err != nil {
			t.Fatal(err)
		}
		if got := keys(t, b); got != step.want {
			t.Errorf("%d objects %v later, want %d", got, step.after, step.want)
		}
		files, err := open(t, b).Files(t.Context())
		if err != nil || len(files) != 1 || files[0].Next != 5 {
			t.Fatalf("files %v, %v", files, err)
		}
	}
	// A zombie writes again what has gone: nobody sees it.
	small(t, open(t, b), 2)
	if files, err := open(t, b).Files(t.Context()); err != nil || len(files) != 1 {
		t.Errorf("files after a zombie: %v, %v", files, err)
	}
}

// dying is a store of a process that dies at its n-th change, before it or after it.
type dying struct {
	blob.Store
	left int
}

var errDied = errors.New("died")

func (d *dying) change(f func() error) error {
	if d.left--; d.left < 0 {
		return errDied
	}
	if err := f(); err != nil {
		return err
	}
	if d.left--; d.left < 0 {
		return errDied
	}
	return nil
}

func (d *dying) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) error {
	return d.change(func() error { return d.Store.Put(ctx, key, r, opt) })
}

func (d *dying) Delete(ctx context.Context, key string) error {
	return d.change(func() error { return d.Store.Delete(ctx, key) })
}

// TestCompact_CrashAnywhere: at every moment each row is listed once.
func TestCompact_CrashAnywhere(t *testing.T) {
	for crash := 0; ; crash++ {
		b, later := local(t), time.Now()
		small(t, open(t, b), 4)
		d := &dying{Store: b, left: crash}
		s, err := lake.Open(t.Context(), d, lake.Options{Now: func() time.Time { return later }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Compact(t.Context(), past)
		if err == nil {
			later = later.Add(25 * time.Hour)
			_, err = s.Compact(t.Context(), past)
		}
		check := func(when string) {
			t.Helper()
			s, seen := open(t, b), map[int64]int{}
			files, err := s.Files(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				for r, err := range s.Rows(t.Context(), f, warehouse.Hint{}) {
					if err != nil {
						t.Fatal(err)
					}
					seen[r.Offset]++
				}
			}
			if fmt.Sprint(seen) != "map[0:1 1:1 2:1 3:1]" {
				t.Errorf("crash at %d: rows %s: %v", crash, when, seen)
			}
		}
		check("before the next start")
		if err == nil {
			if crash < 12 {
				t.Fatalf("only %d places to die at", crash)
			}
			return
		}
		if _, err := open(t, b).Compact(t.Context(), past); err != nil {
			t.Fatal(err)
		}
		check("after it")
	}
}
