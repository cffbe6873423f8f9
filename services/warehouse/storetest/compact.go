package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/services/warehouse"
)

func everything(string, time.Time) bool { return true }

// small writes n rows of partition p in files of ten.
func small(t *recorder, s warehouse.Store, partition int32, n int) []warehouse.Row {
	all := rows(0, n)
	for i := range all {
		all[i].Partition = partition
	}
	for i := 0; i < n; i += 10 {
		write(t, s, int64(i), all[i:min(n, i+10)])
	}
	return all
}

// whole reads what a store lists, which is to be want, and returns how many files it is.
func whole(t *recorder, what string, s warehouse.Store, want []warehouse.Row) int {
	listed := files(t, s)
	have := map[string]int{}
	for _, f := range listed {
		for _, r := range read(t, s, f, warehouse.Hint{}) {
			have[fmt.Sprintf("%s/%d/%d %s", r.Topic, r.Partition, r.Offset, r.Envelope.GetId())]++
		}
	}
	wanted := map[string]int{}
	for _, r := range want {
		wanted[fmt.Sprintf("%s/%d/%d %s", r.Topic, r.Partition, r.Offset, r.Envelope.GetId())]++
	}
	same(t, what, wanted, have)
	return len(listed)
}

// compact: fewer files of the same rows, of which a store that is open knows after a while
// and a new one at once; what was listed before can still be read.
func compact(t *recorder, open func() warehouse.Store) {
	s := open()
	before := open()
	all := small(t, s, 0, 45)
	old := files(t, s)
	all = append(all, small(t, s, 3, 12)...)
	if n, err := s.Compact(t.ctx, everything); n != 1 || err != nil {
		t.Fatalf("%d hours compacted, %v", n, err)
	}
	for name, w := range map[string]warehouse.Store{"this": s, "new": open()} {
		if n := whole(t, "rows of "+name, w, all); n != 2 {
			t.Errorf("%d files in %s, want one of each partition", n, name)
		}
	}
	for _, f := range old {
		sameRows(t, "rows of what was replaced", byTime(all[f.First:f.Next]), read(t, before, f, warehouse.Hint{}))
	}
	f := files(t, s)[0]
	if f.First != 0 || f.Next != 45 {
		t.Errorf("covers %d to %d", f.First, f.Next)
	}
	sameRows(t, "rows of the merged file", byTime(all[:45]), read(t, s, f, warehouse.Hint{}))
	if n, err := open().Compact(t.ctx, everything); n != 0 || err != nil {
		t.Errorf("%d hours compacted again, %v", n, err)
	}
	// A writer that slept is told, or makes a file that nobody is to see twice.
	write(t, open(), 10, all[10:13])
	whole(t, "rows after a late writer", open(), all)
	// Rows that came to the hour all the same.
	late := rows(45, 5)
	write(t, open(), 45, late)
	all = append(all, late...)
	whole(t, "rows with late ones", open(), all)
	if n, err := open().Compact(t.ctx, everything); n != 1 || err != nil {
		t.Errorf("%d hours compacted for late rows, %v", n, err)
	}
	whole(t, "rows with late ones, compacted", open(), all)
}

func compactClosed(t *recorder, open func() warehouse.Store) {
	s := open()
	all := small(t, s, 0, 30)
	n, err := s.Compact(t.ctx, func(topic string, at time.Time) bool {
		if topic != event.UserIdentity || !at.Equal(hour()) {
			t.Errorf("asked about %s at %v", topic, at)
		}
		return false
	})
	if n != 0 || err != nil {
		t.Errorf("%d hours compacted, %v", n, err)
	}
	if n := whole(t, "rows", open(), all); n != 3 {
		t.Errorf("%d files of an open hour", n)
	}
}

func compactAtOnce(t *recorder, open func() warehouse.Store) {
	all := small(t, open(), 0, 60)
	errs, counts := make([]error, 4), make([]int, 4)
	var wg sync.WaitGroup
	for i := range errs {
		s := open()
		wg.Go(func() { counts[i], errs[i] = s.Compact(t.ctx, everything) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%v", err)
	}
	if n := counts[0] + counts[1] + counts[2] + counts[3]; n != 1 {
		t.Errorf("one hour was compacted %d times", n)
	}
	if n := whole(t, "rows", open(), all); n != 1 {
		t.Errorf("%d files", n)
	}
}
