package locallog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
)

const keepFor = time.Hour

// history is what the outside knows: what was acknowledged or read must stay.
type history struct {
	rng     *rand.Rand
	disk    *disk
	now     time.Time
	seq     int
	made    map[string]time.Time // every value, by when it was appended
	order   []string             // values that must be there, in order
	offsets map[string]int64     // as read
	commits []int64              // any of them may be the committed offset
}

// live opens the log, checks it and uses it until the process dies.
func (h *history) live(ctx context.Context) error {
	h.disk.left = 1 << 30
	if h.rng.IntN(4) == 0 {
		h.disk.left = h.rng.IntN(60) // dies while it opens
	}
	log, err := locallog.OpenFS(h.disk, locallog.Options{
		Now: func() time.Time { return h.now }, SegmentBytes: 200, Retention: func(string) time.Duration { return keepFor },
	})
	if err != nil {
		if errors.Is(err, errDead) {
			return nil
		}
		return fmt.Errorf("open: %w", err)
	}
	defer log.Close()
	if err := h.check(ctx, log); err != nil {
		return err
	}
	h.disk.left = h.rng.IntN(120)
	for {
		if err := h.step(ctx, log); errors.Is(err, errDead) {
			return nil
		} else if err != nil {
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
	}
	var recs []event.Record
	var vals []string
	for range 1 + h.rng.IntN(3) {
		h.seq++
		v := fmt.Sprintf("%06d-%0*d", h.seq, h.rng.IntN(80), 0)
		h.made[v] = h.now
		vals = append(vals, v)
		recs = append(recs, event.Record{Topic: event.Upload, Key: []byte("k"), Value: []byte(v)})
	}
	if err := log.Append(ctx, recs...); err != nil {
		return err
	}
	h.order = append(h.order, vals...)
	return nil
}

func (h *history) check(ctx context.Context, log *locallog.Log) error {
	var got []string
	for r, err := range log.Read(ctx, event.Upload, 0, 0, false) {
		if err != nil {
			return err
		}
		v := string(r.Value)
		if _, ok := h.made[v]; !ok {
			return fmt.Errorf("value %q was never appended", v)
		}
		if before, ok := h.offsets[v]; ok && before != r.Offset {
			return fmt.Errorf("value %q moved from offset %d to %d", v, before, r.Offset)
		}
		if n := len(got); n > 0 && got[n-1] >= v {
			return fmt.Errorf("value %q follows %q", v, got[n-1])
		}
		h.offsets[v] = r.Offset
		got = append(got, v)
	}
	for _, v := range h.order {
		_, found := slices.BinarySearch(got, v)
		if !found && h.now.Sub(h.made[v]) <= keepFor {
			return fmt.Errorf("value %q is lost", v)
		}
	}
	h.order = got
	at, err := log.Committed(ctx, "g", event.Upload, 0)
	if err != nil {
		return err
	}
	if !slices.Contains(h.commits, at) {
		return fmt.Errorf("committed offset is %d, was %v", at, h.commits)
	}
	return nil
}

// lose runs one history of deaths and power cuts.
func lose(ctx context.Context, seed uint64, ignore locallog.Site) error {
	h := &history{
		rng: rand.New(rand.NewPCG(seed, 1)), disk: newDisk(ignore), now: time.Unix(1e9, 0),
		made: map[string]time.Time{}, offsets: map[string]int64{}, commits: []int64{0},
	}
	for range 8 {
		if err := h.live(ctx); err != nil {
			return err
		}
		if h.rng.IntN(2) == 0 {
			h.disk.cutPower(h.rng)
		}
	}
	return nil
}

// TestPowerLoss takes more seeds from SEGUE_POWERLOSS_SEEDS.
func TestPowerLoss(t *testing.T) {
	seeds := uint64(100)
	if s := os.Getenv("SEGUE_POWERLOSS_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		seeds = n
	}
	for seed := range seeds {
		if err := lose(t.Context(), seed, ""); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestPowerLoss_EverySyncCounts leaves out one sync after the other.
func TestPowerLoss_EverySyncCounts(t *testing.T) {
	for _, site := range locallog.Sites() {
		t.Run(string(site), func(t *testing.T) {
			for seed := range uint64(3000) {
				if err := lose(t.Context(), seed, site); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("nothing is lost without this sync")
		})
	}
}
