package warehouse_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/services/warehouse"
)

var errCrash = errors.New("crash")

// fuse counts the places at which a process could die, and lets it die at one. Several
// partitions are flushed at once, so that which place it is differs from run to run.
type fuse struct{ left atomic.Int64 }

func newFuse(places int) *fuse {
	var f fuse
	f.left.Store(int64(places))
	return &f
}

func (f *fuse) burn() error {
	if f.left.Add(-1) < 0 {
		return errCrash
	}
	return nil
}

type crashingLog struct {
	event.Log
	fuse *fuse
}

func (l crashingLog) Commit(ctx context.Context, group, topic string, p int32, next int64) error {
	if err := l.fuse.burn(); err != nil {
		return err
	}
	if err := l.Log.Commit(ctx, group, topic, p, next); err != nil {
		return err
	}
	return l.fuse.burn()
}

type crashingStore struct {
	warehouse.Store
	fuse *fuse
}

func (s crashingStore) Write(ctx context.Context, first int64, rows []warehouse.Row) (warehouse.File, error) {
	if err := s.fuse.burn(); err != nil {
		return warehouse.File{}, err
	}
	f, err := s.Store.Write(ctx, first, rows)
	if err != nil {
		return f, err
	}
	return f, s.fuse.burn()
}

// TestFlush_CrashAnywhere dies at every place of a flush in turn, and more records come
// before the next start: each record is then in exactly one file.
func TestFlush_CrashAnywhere(t *testing.T) {
	front := newFrontend(t)
	for crash := 0; ; crash++ {
		w := newWorldBehind(t, t.TempDir(), front)
		w.conf.FileRows = 3
		records := 0
		fill := func() {
			for range 5 {
				w.event(event.Playback, &eventv1.LoggedIn{})
				w.event(event.Billing, &eventv1.LoggedOut{})
				w.clock.move(11 * time.Minute)
				records += 2
			}
		}
		fill()
		f := newFuse(crash)
		w.wrapLog = func(l event.Log) event.Log { return crashingLog{l, f} }
		w.wrapStore = func(s warehouse.Store) warehouse.Store { return crashingStore{s, f} }
		w.open()
		_, err := w.client.FlushLake(t.Context(), &warehousev1.FlushLakeRequest{})
		if err == nil {
			if crash < 12 {
				t.Fatalf("only %d places to die at", crash)
			}
			return
		}
		// A process that is still there tries again; what the fuse lets through is to be right.
		_, _ = w.client.FlushLake(t.Context(), &warehousev1.FlushLakeRequest{})
		fill()
		w.wrapLog, w.wrapStore = nil, nil
		w.open()
		if got := len(w.search(nil, 0)); got != records {
			t.Errorf("crash at %d: %d of %d events found before the flush", crash, got, records)
		}
		w.flush()
		exactlyOnce(t, w, fmt.Sprintf("crash at %d", crash), records)
		if got := len(w.search(nil, 0)); got != records {
			t.Errorf("crash at %d: %d of %d events found", crash, got, records)
		}
	}
}

// exactlyOnce reads the files as Spark would, without looking at ranges.
func exactlyOnce(t *testing.T, w *world, when string, records int) {
	t.Helper()
	files, err := w.store.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, f := range files {
		for r, err := range w.store.Rows(t.Context(), f, warehouse.Hint{}) {
			if err != nil {
				t.Fatal(err)
			}
			seen[fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)]++
		}
	}
	if len(seen) != records {
		t.Errorf("%s: %d of %d records in the lake", when, len(seen), records)
	}
	for place, n := range seen {
		if n != 1 {
			t.Errorf("%s: %s is there %d times", when, place, n)
		}
	}
}

// TestFlush_TwoWriters: of two processes that both believe that the log is theirs the
// second goes on where the first one's file ends.
func TestFlush_TwoWriters(t *testing.T) {
	w := newWorld(t, t.TempDir())
	fill := func() {
		for range 5 {
			w.event(event.Playback, &eventv1.LoggedIn{})
		}
		// A record without an id is told from its double by its place alone.
		if err := w.log.Append(t.Context(), event.Record{Topic: event.Playback, Value: []byte("\xff")}); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	other := w.svc
	w.open() // both know of no file
	w.flush()
	fill()
	if err := w.log.Commit(t.Context(), warehouse.Group, event.Playback, 0, 0); err != nil {
		t.Fatal(err)
	}
	w.svc = other
	if _, err := other.FlushLake(t.Context(), &warehousev1.FlushLakeRequest{}); err != nil {
		t.Fatal(err)
	}
	w.open()
	files, err := w.store.Files(t.Context())
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	if got := w.search(nil, 0); len(got) != 12 {
		t.Errorf("found %d of 12", len(got))
	}
	exactlyOnce(t, w, "two writers", 12)
}

// TestSearch_LostFile: what a lost file held is found in the log while that has it.
func TestSearch_LostFile(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for range 9 {
		w.event(event.Playback, &eventv1.LoggedIn{})
		if w.made%3 == 0 {
			w.flush()
		}
	}
	files, err := w.store.Files(t.Context())
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, lost := range files[:2] {
		if err := w.blobs.Delete(t.Context(), "lake/"+lost.Name); err != nil {
			t.Fatal(err)
		}
		if got := w.open().search(nil, 0); len(got) != 9 {
			t.Errorf("without %s: found %d of 9", lost.Name, len(got))
		}
	}
}
