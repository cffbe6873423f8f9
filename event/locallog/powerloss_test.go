package locallog_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
)

var seedsFlag = flag.Uint64("locallog.seeds", 25, "histories of deaths and power cuts that TestPowerLoss lives through, with each kind of fault")

const keepFor = time.Hour

// faults are what a history meets beside death and power cuts.
type faults struct {
	ignore locallog.Site // syncs of this site do nothing
	full   bool          // the disk fills up at times
	broken bool          // a sync fails at times
	lie    bool          // and does not tell
}

// history is what the outside knows: what was acknowledged or read must stay.
type history struct {
	faults
	rng     *rand.Rand
	disk    *disk
	now     time.Time
	seq     int
	made    map[string]time.Time // every value, by when it was appended
	kept    []string             // values that must be there
	offsets map[string]int64     // as read
	commits []int64              // any of them may be the committed offset
	acked   int                  // records acknowledged
	cuts    int                  // of the power
}

func topics() []string { return []string{event.Upload, event.Catalogue} }

// live opens the log, checks it and uses it until the process dies.
func (h *history) live(ctx context.Context) error {
	h.disk.left, h.disk.broken = 1<<30, ""
	if h.rng.IntN(4) == 0 {
		h.disk.left = h.rng.IntN(60) // dies while it opens
	}
	h.disk.full = h.full && h.rng.IntN(4) == 0
	if h.broken && h.rng.IntN(2) == 0 {
		h.disk.broken = locallog.Sites()[h.rng.IntN(len(locallog.Sites()))]
	}
	log, err := locallog.OpenFS(h.disk, locallog.Options{
		Now: func() time.Time { return h.now }, SegmentBytes: int64(1 + h.rng.IntN(3)*h.disk.sector), Retention: func(string) time.Duration { return keepFor },
	})
	switch {
	case errors.Is(err, errDead):
		return nil
	case errors.Is(err, syscall.ENOSPC) && h.disk.full:
		return nil // there is room again in another life
	case errors.Is(err, syscall.EIO) && h.broken:
		h.cut() // as the package says: what the page cache holds is worth nothing now
		return nil
	case err != nil:
		return fmt.Errorf("open: %w", err)
	}
	defer log.Close()
	if err := h.check(ctx, log); err != nil {
		return err
	}
	h.disk.left = h.rng.IntN(120)
	for {
		err := h.step(ctx, log)
		switch {
		case errors.Is(err, errDead):
			return nil
		case errors.Is(err, event.ErrFailed) && errors.Is(err, syscall.EIO) && h.broken:
			if err := log.Append(ctx, event.Record{Topic: event.Upload}); !errors.Is(err, event.ErrFailed) {
				return fmt.Errorf("append after a failed sync: %w", err)
			}
			return nil
		case errors.Is(err, syscall.ENOSPC) && !errors.Is(err, event.ErrFailed) && h.full:
		case err != nil:
			return err
		}
	}
}

func (h *history) step(ctx context.Context, log *locallog.Log) error {
	switch h.rng.IntN(8) {
	case 0:
		next := int64(h.rng.IntN(1000))
		h.commits = append(h.commits, next)
		if err := log.Commit(ctx, "g", event.Upload, 0, next); err != nil {
			return err
		}
		h.commits = []int64{next}
		return nil
	case 1:
		h.now = h.now.Add(time.Duration(h.rng.IntN(40)) * time.Minute)
		return log.Trim(ctx)
	case 2:
		h.disk.mu.Lock()
		h.disk.full = h.full && h.rng.IntN(2) == 0
		h.disk.mu.Unlock()
		return nil
	case 3:
		return h.burst(ctx, log)
	}
	return h.append(ctx, log, h.records(h.rng.IntN(4)))
}

// records are the next ones of a key; a key has one topic.
func (h *history) records(key int) []event.Record {
	recs := make([]event.Record, 1+h.rng.IntN(3))
	for i := range recs {
		h.seq++
		v := fmt.Sprintf("%06d-%0*d", h.seq, h.rng.IntN(h.disk.sector*5/4), 0)
		h.made[v] = h.now
		recs[i] = event.Record{Topic: topics()[key%2], Key: fmt.Append(nil, key), Value: []byte(v)}
	}
	return recs
}

func (h *history) append(ctx context.Context, log *locallog.Log, recs []event.Record) error {
	if err := log.Append(ctx, recs...); err != nil {
		return err
	}
	h.keep(recs)
	return nil
}

func (h *history) keep(recs []event.Record) {
	h.acked += len(recs)
	for _, r := range recs {
		h.kept = append(h.kept, string(r.Value))
	}
}

// burst has every key's producer append at the same time, so that groups form.
func (h *history) burst(ctx context.Context, log *locallog.Log) error {
	const producers = 4
	errs := make([]error, producers)
	all := make([][]event.Record, producers)
	for key := range all {
		all[key] = h.records(key)
	}
	var wg sync.WaitGroup
	for key, recs := range all {
		wg.Go(func() { errs[key] = log.Append(ctx, recs...) })
	}
	wg.Wait()
	var first error
	for key, err := range errs {
		if err == nil {
			h.keep(all[key])
		} else if first == nil || errors.Is(err, errDead) {
			first = err
		}
	}
	return first
}

func (h *history) check(ctx context.Context, log *locallog.Log) error {
	var got []string
	for _, topic := range topics() {
		last := map[string]string{}
		for r, err := range log.Read(ctx, topic, 0, 0, false) {
			if err != nil {
				return err
			}
			v, key := string(r.Value), string(r.Key)
			if _, ok := h.made[v]; !ok && v != "" { // the empty one is appended after failures only
				return fmt.Errorf("value %.40q was never appended", v)
			}
			if v == "" {
				return errors.New("a record that a failed log refused is there")
			}
			if before, ok := h.offsets[v]; ok && before != r.Offset {
				return fmt.Errorf("value %.40q moved from offset %d to %d", v, before, r.Offset)
			}
			if last[key] >= v {
				return fmt.Errorf("value %.40q of key %s follows %.40q", v, key, last[key])
			}
			last[key] = v
			h.offsets[v] = r.Offset
			got = append(got, v)
		}
	}
	slices.Sort(got)
	for _, v := range h.kept {
		_, found := slices.BinarySearch(got, v)
		if !found && h.now.Sub(h.made[v]) <= keepFor {
			return fmt.Errorf("value %.40q is lost", v)
		}
	}
	h.kept = got
	at, err := log.Committed(ctx, "g", event.Upload, 0)
	if err != nil {
		return err
	}
	if !slices.Contains(h.commits, at) {
		return fmt.Errorf("committed offset is %d, was %v", at, h.commits)
	}
	return nil
}

func (h *history) cut() {
	h.cuts++
	h.disk.cutPower(h.rng)
}

// lose lives through one history of deaths and power cuts. Disks of every seed write
// other sectors: 512 and 4,096 bytes are what there is, 64 tears more of small records.
func lose(ctx context.Context, seed uint64, f faults) (*history, error) {
	disk := newDisk(f.ignore, []int{64, 512, 4096}[seed%3])
	disk.lie = f.lie
	h := &history{
		faults: f, rng: rand.New(rand.NewPCG(seed, 1)), disk: disk, now: time.Unix(1e9, 0),
		made: map[string]time.Time{}, offsets: map[string]int64{}, commits: []int64{0},
	}
	for range 8 {
		if err := h.live(ctx); err != nil {
			return h, err
		}
		if h.rng.IntN(2) == 0 {
			h.cut()
		}
	}
	h.disk.full, h.full, h.broken = false, false, false
	return h, h.live(ctx)
}

func TestPowerLoss(t *testing.T) {
	for name, f := range map[string]faults{
		"alone": {}, "disk_full": {full: true}, "failed_sync": {broken: true}, "all": {full: true, broken: true},
	} {
		t.Run(name, func(t *testing.T) {
			acked, cuts := 0, 0
			for seed := range *seedsFlag {
				h, err := lose(t.Context(), seed, f)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				acked, cuts = acked+h.acked, cuts+h.cuts
			}
			t.Logf("%d histories, %d power cuts, %d records acknowledged, 0 lost", *seedsFlag, cuts, acked)
		})
	}
}

// mustLose finds a history in which something is lost.
func mustLose(t *testing.T, f faults) {
	t.Helper()
	for seed := range uint64(3000) {
		if _, err := lose(t.Context(), seed, f); err != nil {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Error("nothing is lost")
}

// TestPowerLoss_EverySyncCounts leaves out one sync after the other.
func TestPowerLoss_EverySyncCounts(t *testing.T) {
	for _, site := range locallog.Sites() {
		t.Run(string(site), func(t *testing.T) { mustLose(t, faults{ignore: site, full: true}) })
	}
}

// TestPowerLoss_FailedSyncCounts hides the errors of syncs: a log that went on after one
// would lose what it acknowledged.
func TestPowerLoss_FailedSyncCounts(t *testing.T) { mustLose(t, faults{broken: true, lie: true}) }
