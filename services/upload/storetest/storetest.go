// Package storetest holds every engine of the upload service's store to the promises of
// upload.Store.
package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/stream/id"
)

const (
	owner = "000000000000000000000A"
	other = "000000000000000000000B"
)

// at is the moment of a test plus some seconds; stores keep milliseconds.
func at(seconds int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(seconds)*1000).UTC() }

// New makes an upload that is being received; seconds orders it among others.
func New(ownerID string, seconds int) upload.Upload {
	return upload.Upload{
		ID: id.New(at(seconds), rand.Reader).String(), OwnerID: ownerID, Source: upload.SourceTus, FileName: "a.flac",
		Size: 100, State: upload.Receiving, Created: at(seconds), Updated: at(seconds), Revision: 1, Generation: 1,
		Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
}

// job makes an upload with a job that is due.
func job(seconds int, stage upload.Stage, priority int) upload.Upload {
	u := New(owner, seconds)
	u.State, u.Stage, u.Priority, u.RunAt = upload.Queued, stage, priority, at(seconds)
	return u
}

// Event is an envelope about u.
func Event(tb T, u upload.Upload, revision uint64) *eventv1.Envelope {
	tb.Helper()
	e, err := event.New(id.New(at(0), rand.Reader).String(), at(0), "upload:"+u.ID, revision, &eventv1.UploadStateChanged{To: "queued"})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func create(t T, s upload.Store, us ...upload.Upload) {
	t.Helper()
	if err := s.Create(t.Context(), upload.Creation{Uploads: us}); err != nil {
		t.Fatal(err)
	}
}

func get(t T, s upload.Store, uploadID string) upload.Upload {
	t.Helper()
	u, err := s.Get(t.Context(), uploadID)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func ids(us []upload.Upload) []string {
	out := []string{}
	for _, u := range us {
		out = append(out, u.ID)
	}
	return out
}

// T is what a check reports to: a *testing.T, or what the suite's own test counts with.
type T interface {
	Helper()
	Context() context.Context
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Check is a group of promises, on an empty store.
type Check struct {
	Name string
	Run  func(t T, s upload.Store)
}

// Checks are all promises.
func Checks() []Check {
	return []Check{
		{"Create", testCreate}, {"Bounds", testBounds}, {"List", testList}, {"Save", testSave},
		{"SaveConcurrent", testSaveConcurrent}, {"Delete", testDelete}, {"Finders", testFinders},
		{"ClaimOrder", testClaimOrder}, {"Leases", testLeases}, {"ClaimConcurrent", testClaimConcurrent},
		{"Objects", testObjects}, {"Prints", testPrints}, {"Watched", testWatched},
	}
}

// Run runs every check; open makes an empty store, which it closes by itself.
func Run(t *testing.T, open func(t *testing.T) upload.Store) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, open(t)) })
	}
}

func full() upload.Upload {
	u := New(owner, 1)
	u.Source, u.FileName, u.Path, u.ModTime = upload.SourceWatch, "ä.flac", "dir/\xff.flac", time.Unix(7, 123456789).UTC()
	u.Received, u.State, u.TrackID, u.Reason, u.Step, u.Progress, u.Attempts = 50, upload.Failed, id.Derive("t").String(), "why", "seal", 77, 3
	u.Similar, u.SHA256, u.Quick, u.Staged, u.Supersedes, u.Generation = []string{"x", "y"}, "aa", "bb", true, "cc", 4
	u.Stage, u.Priority, u.RunAt = upload.StageAudio, upload.Express, at(9)
	u.Facts = upload.Facts{
		DurationMS: 1, Estimated: true, Samples: 2, Integrated: -14.5, TruePeak: 0.9, PCM: "dd", Compared: true,
		Files: []upload.RenditionFile{{Kbps: 96, Size: 3, SHA256: "ee"}},
	}
	return u
}

func testCreate(t T, s upload.Store) {
	u := full()
	create(t, s, u)
	if diff := cmp.Diff(u, get(t, s, u.ID)); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Get(t.Context(), id.Derive("none").String()); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	fresh := New(owner, 2)
	if err := s.Create(t.Context(), upload.Creation{Uploads: []upload.Upload{fresh, u}}); !errors.Is(err, upload.ErrExists) {
		t.Errorf("error %v, want ErrExists", err)
	}
	if _, err := s.Get(t.Context(), fresh.ID); !errors.Is(err, upload.ErrNotFound) {
		t.Error("a part of a refused creation is there")
	}
	n, err := s.Counts(t.Context())
	if diff := cmp.Diff(map[upload.State]uint64{upload.Failed: 1}, n); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func testSave(t T, s upload.Store) {
	u := New(owner, 1)
	create(t, s, u)
	next := full()
	next.ID = u.ID
	if err := s.Save(t.Context(), upload.Change{Upload: next}); err != nil {
		t.Fatal(err)
	}
	next.Revision = 2
	if diff := cmp.Diff(next, get(t, s, u.ID)); diff != "" {
		t.Error(diff)
	}
	// Against another revision nothing is applied, of any part.
	stale := next
	stale.Revision, stale.Reason = 1, "stale"
	o := upload.Object{ID: "00", UploadID: u.ID, Kbps: 96, State: upload.ObjectSealed, At: at(1)}
	err := s.Save(t.Context(), upload.Change{Upload: stale, Objects: []upload.Object{o}, Print: &upload.Print{TrackID: "t"}})
	if !errors.Is(err, upload.ErrConflict) {
		t.Errorf("error %v, want ErrConflict", err)
	}
	if os, err := s.Objects(t.Context(), u.ID); err != nil || len(os) > 0 {
		t.Errorf("objects %v, %v", os, err)
	}
	if _, err := s.Print(t.Context(), "t"); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("print: error %v", err)
	}
	if got := get(t, s, u.ID); got.Reason != "why" {
		t.Error("a refused change was applied")
	}
	// A refused event takes the change with it.
	bad := Event(t, u, 3)
	bad.Payload = nil
	bad.Id = string(make([]byte, event.MaxValue+1))
	if err := s.Save(t.Context(), upload.Change{Upload: next, Events: []*eventv1.Envelope{bad}}); err == nil {
		t.Error("an event over the bounds was taken")
	} else if got := get(t, s, u.ID); got.Revision != 2 {
		t.Error("the change without its event was applied")
	}
	missing := New(owner, 5)
	if err := s.Save(t.Context(), upload.Change{Upload: missing}); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}

// testSaveConcurrent: of changes made against one revision exactly one is applied.
func testSaveConcurrent(t T, s upload.Store) {
	u := New(owner, 1)
	create(t, s, u)
	var wg sync.WaitGroup
	won := make(chan string, 20)
	for i := range 20 {
		wg.Go(func() {
			mine := u
			mine.Reason = fmt.Sprint(i)
			if err := s.Save(t.Context(), upload.Change{Upload: mine}); err == nil {
				won <- mine.Reason
			} else if !errors.Is(err, upload.ErrConflict) {
				t.Errorf("error %v, want ErrConflict", err)
			}
		})
	}
	wg.Wait()
	close(won)
	var winners []string
	for w := range won {
		winners = append(winners, w)
	}
	if got := get(t, s, u.ID); len(winners) != 1 || got.Reason != winners[0] || got.Revision != 2 {
		t.Errorf("winners %v, stored %q at %d", winners, got.Reason, got.Revision)
	}
}

func testDelete(t T, s upload.Store) {
	u := New(owner, 1)
	create(t, s, u)
	if err := s.Delete(t.Context(), u.ID, 2, nil); !errors.Is(err, upload.ErrConflict) {
		t.Errorf("error %v, want ErrConflict", err)
	}
	if err := s.Delete(t.Context(), u.ID, 1, []*eventv1.Envelope{Event(t, u, 2)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), u.ID, 1, nil); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}
