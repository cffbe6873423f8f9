package storetest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/services/upload"
)

func claim(t T, s upload.Store, lane upload.Lane, now time.Time, limit int) []upload.Upload {
	t.Helper()
	us, err := s.Claim(t.Context(), lane, now, time.Minute, limit)
	if err != nil {
		t.Fatal(err)
	}
	return us
}

func testClaimOrder(t T, s upload.Store) {
	tags1, tags2 := job(1, upload.StageTags, upload.Normal), job(2, upload.StageTags, upload.Normal)
	cover, urgent := job(0, upload.StageCover, upload.Normal), job(3, upload.StageCover, upload.Express)
	audio, fast := job(1, upload.StageAudio, upload.Normal), job(4, upload.StageAudio, upload.Express)
	tell, later := job(1, upload.StageTell, upload.Normal), job(1, upload.StageTags, upload.Normal)
	later.RunAt = at(100)
	create(t, s, New(owner, 1), tags2, tags1, cover, urgent, audio, fast, tell, later)
	if got := claim(t, s, upload.LaneFastAudio, at(50), 10); !cmp.Equal(ids(got), []string{fast.ID}) {
		t.Errorf("fast lane: %v", ids(got))
	}
	if got := claim(t, s, upload.LaneAudio, at(50), 10); !cmp.Equal(ids(got), []string{audio.ID}) {
		t.Errorf("audio lane: %v", ids(got))
	}
	if got := claim(t, s, upload.LaneCover, at(50), 10); !cmp.Equal(ids(got), []string{urgent.ID, cover.ID}) {
		t.Errorf("cover lane: %v", ids(got))
	}
	got := claim(t, s, upload.LaneLight, at(50), 2)
	got = append(got, claim(t, s, upload.LaneLight, at(50), 10)...)
	if diff := cmp.Diff(ids([]upload.Upload{tags1, tags2, tell}), ids(got)); diff != "" {
		t.Error(diff)
	}
	if due, err := s.NextDue(t.Context(), upload.LaneLight); err != nil || !due.Equal(at(100)) {
		t.Errorf("next is due at %v, %v; want %v", due, err, at(100))
	}
	if got := claim(t, s, upload.LaneLight, at(100), 10); !cmp.Equal(ids(got), []string{later.ID}) {
		t.Errorf("later: %v", ids(got))
	}
}

func testLeases(t T, s upload.Store) {
	ctx := t.Context()
	u := job(1, upload.StageAudio, upload.Normal)
	create(t, s, u)
	if due, err := s.NextDue(ctx, upload.LaneFastAudio); err != nil || !due.IsZero() {
		t.Errorf("an empty lane is due at %v, %v", due, err)
	}
	first := claim(t, s, upload.LaneAudio, at(10), 1)[0]
	if first.Lease == "" {
		t.Fatal("a claim without a lease")
	}
	if got := claim(t, s, upload.LaneAudio, at(69), 1); len(got) > 0 {
		t.Error("claimed under a lease")
	}
	if err := s.Extend(ctx, u.ID, first.Lease, at(130)); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, s, upload.LaneAudio, at(129), 1); len(got) > 0 {
		t.Error("claimed under an extended lease")
	}
	if due, err := s.NextDue(ctx, upload.LaneAudio); err != nil || !due.Equal(at(130)) {
		t.Errorf("next is due at %v, %v; want %v", due, err, at(130))
	}
	second := claim(t, s, upload.LaneAudio, at(131), 1)
	if len(second) != 1 || second[0].Lease == first.Lease {
		t.Fatalf("after the lease: %v", second)
	}
	// Whoever lost the lease changes nothing any more.
	stale := first
	stale.Reason = "stale"
	if err := s.Save(ctx, upload.Change{Upload: stale, Lease: first.Lease}); !errors.Is(err, upload.ErrConflict) {
		t.Errorf("save: error %v, want ErrConflict", err)
	}
	if err := s.Extend(ctx, u.ID, first.Lease, at(500)); !errors.Is(err, upload.ErrConflict) {
		t.Errorf("extend: error %v, want ErrConflict", err)
	}
	if err := s.Extend(ctx, u.ID, "", at(500)); !errors.Is(err, upload.ErrConflict) {
		t.Errorf("extend nothing: error %v, want ErrConflict", err)
	}
	if err := s.Release(ctx, u.ID, first.Lease); err != nil {
		t.Error(err)
	}
	if got := claim(t, s, upload.LaneAudio, at(132), 1); len(got) > 0 {
		t.Error("a lost lease released the job")
	}
	held := second[0]
	if err := s.Save(ctx, upload.Change{Upload: held, Lease: held.Lease, KeepLease: true}); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, s, upload.LaneAudio, at(133), 1); len(got) > 0 {
		t.Error("KeepLease ended the lease")
	}
	if err := s.Release(ctx, u.ID, held.Lease); err != nil {
		t.Fatal(err)
	}
	third := claim(t, s, upload.LaneAudio, at(134), 1)
	if len(third) != 1 || third[0].Revision != 2 {
		t.Fatalf("after the release: %v", third)
	}
	// A change by another hand leaves the lease, unless it ends it.
	if err := s.Save(ctx, upload.Change{Upload: third[0]}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, u.ID); got.Lease != third[0].Lease {
		t.Error("a change without a lease ended one")
	}
	again := get(t, s, u.ID)
	if err := s.Save(ctx, upload.Change{Upload: again, EndLease: true}); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, s, upload.LaneAudio, at(135), 1); len(got) != 1 {
		t.Error("EndLease did not")
	} else if err := s.Save(ctx, upload.Change{Upload: got[0], Lease: got[0].Lease}); err != nil {
		t.Error(err)
	}
	if got := claim(t, s, upload.LaneAudio, at(136), 1); len(got) != 1 {
		t.Error("the lease did not end with the change")
	}
}

func testClaimConcurrent(t T, s upload.Store) {
	const jobs = 40
	var want []string
	for i := range jobs {
		u := job(i, upload.StageTags, upload.Normal)
		create(t, s, u)
		want = append(want, u.ID)
	}
	var mu sync.Mutex
	var got []string
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				us, err := s.Claim(t.Context(), upload.LaneLight, at(1000), time.Minute, 3)
				if err != nil {
					t.Errorf("claim: %v", err)
				}
				if len(us) == 0 {
					return
				}
				mu.Lock()
				got = append(got, ids(us)...)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("jobs were claimed twice or not at all:\n%s", diff)
	}
}
