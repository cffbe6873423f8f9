//go:build engines

package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/pgdb/pgtest"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/row"
	"github.com/segue-music/segue/services/upload/storetest"
	"github.com/segue-music/segue/stream/id"
)

// TestPostgreSQL runs everything that needs the real server on one.
func TestPostgreSQL(t *testing.T) {
	pg := testengine.PostgreSQL(t)
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) upload.Store { return open(t, pg.Database(t)) })
	})
	t.Run("events", func(t *testing.T) { storetest.Events(t, open(t, pg.Database(t))) })
	t.Run("claim", func(t *testing.T) { claim(t, pg.Database(t)) })
	t.Run("claim_passes_by", func(t *testing.T) { claimPassesBy(t, pg.Database(t)) })
	t.Run("leases", func(t *testing.T) { leases(t, pg.Database(t)) })
	t.Run("bounds", func(t *testing.T) { bounds(t, pg.Database(t)) })
	t.Run("one_wins", func(t *testing.T) { oneWins(t, pg.Database(t)) })
	t.Run("one_print", func(t *testing.T) { onePrint(t, pg.Database(t)) })
	t.Run("many_watched", func(t *testing.T) { manyWatched(t, pg.Database(t)) })
	t.Run("plans", func(t *testing.T) { plans(t, pg.Database(t)) })
}

func open(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), pgtest.Config(t, url, Schema), pgdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

const owner = "000000000000000000000A"

func job(n int) upload.Upload {
	u := storetest.New(owner, n)
	u.State, u.Stage = upload.Queued, upload.StageTags
	return u
}

func create(t *testing.T, s *Store, us ...upload.Upload) {
	t.Helper()
	if err := s.Create(t.Context(), upload.Creation{Uploads: us}); err != nil {
		t.Fatal(err)
	}
}

// claim: workers of three processes share a queue; each job is done once, and all are.
func claim(t *testing.T, url string) {
	const jobs = 120
	stores := []*Store{open(t, url), open(t, url), open(t, url)}
	for i := range jobs {
		create(t, stores[0], job(i))
	}
	now := time.UnixMilli(1_800_000_000_000)
	var mu sync.Mutex
	held, done := map[string]bool{}, 0
	workers, ctx := errgroup.WithContext(t.Context())
	for i := range 9 {
		s := stores[i%3]
		workers.Go(func() error {
			for {
				us, err := s.Claim(ctx, upload.LaneLight, now, time.Hour, 4)
				if err != nil {
					return err
				}
				for _, u := range us {
					mu.Lock()
					if held[u.ID] {
						t.Errorf("job %s is leased twice", u.ID)
					}
					held[u.ID] = true
					mu.Unlock()
					u.Stage = upload.StageNone
					lease := u.Lease
					if err := s.Save(t.Context(), upload.Change{Upload: u, Lease: lease}); err != nil {
						return fmt.Errorf("save under a lease: %w", err)
					}
					mu.Lock()
					done++
					mu.Unlock()
				}
				mu.Lock()
				all := done == jobs
				mu.Unlock()
				if all {
					return nil
				}
			}
		})
	}
	if err := workers.Wait(); err != nil {
		t.Fatal(err)
	}
}

// claimPassesBy: a job that another process is about to change holds nobody up.
func claimPassesBy(t *testing.T, url string) {
	a, b := open(t, url), open(t, url)
	first, second := job(1), job(2)
	create(t, a, first, second)
	now := time.UnixMilli(1_800_000_000_000)
	err := a.db.Write(t.Context(), func(tx *pgdb.Tx) error {
		if _, err := expect(t.Context(), tx, first.ID, 1, ""); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		us, err := b.Claim(ctx, upload.LaneLight, now, time.Minute, 2)
		if err != nil || len(us) != 1 || us[0].ID != second.ID {
			t.Errorf("claimed %v, %v", us, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if us, err := b.Claim(t.Context(), upload.LaneLight, now, time.Minute, 2); err != nil || len(us) != 1 || us[0].ID != first.ID {
		t.Errorf("afterwards %v, %v", us, err)
	}
}

// leases: what a process held that has ended is free when the lease runs out, and another
// one that starts changes nothing about it.
func leases(t *testing.T, url string) {
	now := time.UnixMilli(1_800_000_000_000)
	a := open(t, url)
	create(t, a, job(1))
	first, err := a.Claim(t.Context(), upload.LaneLight, now, time.Minute, 1)
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	_ = a.Close()
	b := open(t, url)
	if us, err := b.Claim(t.Context(), upload.LaneLight, now.Add(time.Minute-time.Millisecond), time.Minute, 1); err != nil || len(us) != 0 {
		t.Errorf("claimed under a lease: %v, %v", us, err)
	}
	due, err := b.NextDue(t.Context(), upload.LaneLight)
	if err != nil || !due.Equal(now.Add(time.Minute)) {
		t.Errorf("due at %v, %v", due, err)
	}
	if us, err := b.Claim(t.Context(), upload.LaneLight, due, time.Minute, 1); err != nil || len(us) != 1 {
		t.Errorf("after the lease: %v, %v", us, err)
	}
	if err := b.Save(t.Context(), upload.Change{Upload: first[0], Lease: first[0].Lease}); !errors.Is(err, upload.ErrConflict) {
		t.Errorf("a change under a lost lease: %v", err)
	}
}

// bounds: a creation through another process that is not committed yet counts.
func bounds(t *testing.T, url string) {
	a, b := open(t, url), open(t, url)
	limits := upload.Bounds{Bytes: 150} // one of 100 fits
	second := make(chan error, 1)
	err := a.db.Write(t.Context(), func(tx *pgdb.Tx) error {
		if err := lockOwners(t.Context(), tx, []string{owner}, limits); err != nil {
			return err
		}
		args, err := row.OfUpload(storetest.New(owner, 1))
		if err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), insertUpload, args...); err != nil {
			return err
		}
		go func() {
			second <- b.Create(t.Context(), upload.Creation{Uploads: []upload.Upload{storetest.New(owner, 2)}, Bounds: limits})
		}()
		for waits := 0; waits == 0 && len(second) == 0; {
			if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`).Scan(&waits); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-second; !errors.Is(err, upload.ErrQuota) {
		t.Errorf("the second: %v, want ErrQuota", err)
	}
}

// oneWins: of changes against one revision, through two processes, one is made.
func oneWins(t *testing.T, url string) {
	stores := []*Store{open(t, url), open(t, url)}
	for round := range 20 {
		u := storetest.New(owner, round)
		create(t, stores[0], u)
		errs := make([]error, 2)
		var g errgroup.Group
		for i, s := range stores {
			g.Go(func() error {
				errs[i] = s.Save(t.Context(), upload.Change{Upload: u})
				return nil
			})
		}
		_ = g.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), upload.ErrConflict) {
			t.Errorf("round %d: %v", round, errs)
		}
	}
}

// onePrint: prints of one track that come at the same time, of two uploads, replace each
// other and do not mix.
func onePrint(t *testing.T, url string) {
	stores := []*Store{open(t, url), open(t, url)}
	for round := range 10 {
		var g errgroup.Group
		for i, s := range stores {
			u := storetest.New(owner, round)
			create(t, s, u)
			terms := []uint32{uint32(100 * (i + 1)), uint32(100*(i+1) + 1)}
			g.Go(func() error {
				return s.Save(t.Context(), upload.Change{Upload: u, Print: &upload.Print{TrackID: "t", OwnerID: owner, PCM: fmt.Sprint(i), Terms: terms}})
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		p, err := stores[0].Print(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		for i := range stores {
			found, err := stores[0].SimilarPrints(t.Context(), upload.Print{TrackID: "x", Terms: []uint32{uint32(100 * (i + 1))}}, 1, 9)
			if mine := p.PCM == fmt.Sprint(i); err != nil || mine != (len(found) == 1) {
				t.Fatalf("the print is %s; terms of %d find %v, %v", p.PCM, i, found, err)
			}
		}
	}
}

// manyWatched: more files than fit on a page come all, in order, once.
func manyWatched(t *testing.T, url string) {
	s := open(t, url)
	var files []upload.WatchedFile
	for i := range 2*watchedPage + 1 {
		files = append(files, upload.WatchedFile{Folder: "/m", Path: fmt.Sprintf("%05d\xff", i), UploadID: id.New(time.UnixMilli(1), rand.Reader).String()})
	}
	if err := s.Create(t.Context(), upload.Creation{Files: files}); err != nil {
		t.Fatal(err)
	}
	var got []upload.WatchedFile
	for f, err := range s.WatchedFiles(t.Context(), "/m") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f)
	}
	if !slices.Equal(got, files) {
		t.Errorf("%d files of %d", len(got), len(files))
	}
}

// plans: no list reads a table from end to end, and none sorts.
func plans(t *testing.T, url string) {
	s := open(t, url)
	list := func(q upload.Query, before string) (text string, args []any) {
		q.Size = 10
		return listQuery(q, before)
	}
	everyone, everyoneArgs := list(upload.Query{}, "x")
	first, firstArgs := list(upload.Query{}, "")
	owners, ownersArgs := list(upload.Query{OwnerID: "o"}, "x")
	failed, failedArgs := list(upload.Query{State: upload.Failed}, "x")
	ownFailed, ownFailedArgs := list(upload.Query{OwnerID: "o", State: upload.Failed}, "x")
	for name, tt := range map[string]struct {
		index, query string
		args         []any
	}{
		"list":          {"uploads_pkey", everyone, everyoneArgs},
		"list_first":    {"uploads_pkey", first, firstArgs},
		"list_owner":    {"uploads_owner", owners, ownersArgs},
		"list_state":    {"uploads_state", failed, failedArgs},
		"list_both":     {"uploads_state", ownFailed, ownFailedArgs},
		"changed":       {"uploads_changed", changedSince, []any{"o", 1, 10}},
		"stale":         {"uploads_stale", stale, []any{1, 1, true, 10}},
		"track":         {"uploads_track", byTrack, []any{"t", 1}},
		"twins":         {"uploads_twin", twins, []any{"o", 1, "q", 1, 2}},
		"held":          {"uploads_held", sumHeld, []any{"o"}},
		"claim":         {"uploads_job", claimable, []any{1, 0, 1, 10}},
		"due":           {"uploads_due", nextDue, []any{1}},
		"due_express":   {"uploads_due_express", nextDueExpress, []any{1}},
		"objects":       {"objects_upload", objectsOf, []any{"u"}},
		"stale_objects": {"objects_state", staleObjects, []any{1, 1, 10}},
		"watched":       {"watched_pkey", watchedOnwards, []any{"f", []byte{}, 10}},
		"print":         {"prints_track_id_key", `SELECT n FROM prints WHERE track_id = $1`, []any{"t"}},
	} {
		t.Run(name, func(t *testing.T) { pgtest.Plan(t, s.db, tt.index, tt.query, tt.args...) })
	}
}
