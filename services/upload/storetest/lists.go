package storetest

import (
	"errors"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/services/upload"
)

func testBounds(t T, s upload.Store) {
	ctx, bounds := t.Context(), upload.Bounds{Bytes: 250, Open: 3}
	try := func(u upload.Upload) error {
		return s.Create(ctx, upload.Creation{Uploads: []upload.Upload{u}, Bounds: bounds})
	}
	first, second := New(owner, 1), New(owner, 2)
	for _, u := range []upload.Upload{first, second} {
		if err := try(u); err != nil {
			t.Fatal(err)
		}
	}
	if err := try(New(owner, 3)); !errors.Is(err, upload.ErrQuota) {
		t.Errorf("error %v, want ErrQuota", err)
	}
	if err := try(New(other, 3)); err != nil {
		t.Errorf("another owner: %v", err)
	}
	small := New(owner, 4)
	small.Size = 1
	if err := try(small); err != nil {
		t.Error(err)
	}
	small = New(owner, 5)
	small.Size = 1
	if err := try(small); !errors.Is(err, upload.ErrTooManyOpen) {
		t.Errorf("error %v, want ErrTooManyOpen", err)
	}
	// What is neither received nor staged takes no space.
	first.State = upload.Complete
	if err := s.Save(ctx, upload.Change{Upload: first}); err != nil {
		t.Fatal(err)
	}
	if err := try(New(owner, 6)); !errors.Is(err, upload.ErrQuota) && err != nil {
		t.Error(err)
	}
	second.State, second.Staged = upload.Queued, true
	if err := s.Save(ctx, upload.Change{Upload: second}); err != nil {
		t.Fatal(err)
	}
	big := New(owner, 7)
	big.Size = 200
	if err := try(big); !errors.Is(err, upload.ErrQuota) {
		t.Errorf("staged bytes do not count: %v", err)
	}
}

func testList(t T, s upload.Store) {
	var want []string
	for i := range 7 {
		u := New(owner, i)
		if i == 3 {
			u.State = upload.Failed
		}
		create(t, s, u, New(other, i))
		want = append([]string{u.ID}, want...)
	}
	q, got := upload.Query{OwnerID: owner, Size: 3}, []string{}
	for {
		page, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ids(page.Uploads)...)
		if page.Next == "" {
			break
		}
		if len(page.Uploads) != 3 {
			t.Fatalf("%d on a page of 3", len(page.Uploads))
		}
		q.Token = page.Next
		create(t, s, New(owner, 100)) // newer than the first page: on none of these
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	page, err := s.List(t.Context(), upload.Query{OwnerID: owner, State: upload.Failed, Size: 10})
	if err != nil || len(page.Uploads) != 1 || page.Uploads[0].ID != want[3] || page.Next != "" {
		t.Errorf("failed ones: %v, %v", page, err)
	}
	if page, err := s.List(t.Context(), upload.Query{Size: 200}); err != nil || len(page.Uploads) != 16 {
		t.Errorf("everyone's: %d, %v", len(page.Uploads), err)
	}
	for _, token := range []string{"x", "!!", "AAAA"} {
		if _, err := s.List(t.Context(), upload.Query{Size: 1, Token: token}); !errors.Is(err, upload.ErrPageToken) {
			t.Errorf("token %q: error %v", token, err)
		}
	}
}

func testFinders(t T, s upload.Store) {
	ctx := t.Context()
	a, b, c := New(owner, 1), New(owner, 2), New(owner, 3)
	for i, u := range []*upload.Upload{&a, &b, &c} {
		u.Quick, u.TrackID, u.State, u.Staged = "q", "track", upload.Queued, i == 1
	}
	c.State = upload.Duplicate
	foreign := New(other, 1)
	foreign.Quick = "q"
	create(t, s, a, b, c, foreign)
	if us, err := s.Twins(ctx, owner, 100, "q"); err != nil || !cmp.Equal(ids(us), []string{a.ID, b.ID}) {
		t.Errorf("twins %v, %v", ids(us), err)
	}
	if us, err := s.Twins(ctx, owner, 101, "q"); err != nil || len(us) > 0 {
		t.Errorf("twins of another size %v, %v", ids(us), err)
	}
	if u, err := s.ByTrack(ctx, "track"); err != nil || u.ID != b.ID {
		t.Errorf("by track: %v, %v", u.ID, err)
	}
	if _, err := s.ByTrack(ctx, ""); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("by no track: %v", err)
	}
	if us, err := s.GetMany(ctx, []string{c.ID, a.ID, "none"}); err != nil || len(us) != 2 {
		t.Errorf("many: %v, %v", ids(us), err)
	}
	if us, err := s.ChangedSince(ctx, owner, at(2), 10); err != nil || !cmp.Equal(ids(us), []string{b.ID, c.ID}) {
		t.Errorf("changed: %v, %v", ids(us), err)
	}
	if us, err := s.ChangedSince(ctx, owner, at(0), 1); err != nil || !cmp.Equal(ids(us), []string{a.ID}) {
		t.Errorf("changed, at most one: %v, %v", ids(us), err)
	}
	if us, err := s.Stale(ctx, upload.Queued, false, at(2), 10); err != nil || !cmp.Equal(ids(us), []string{a.ID}) {
		t.Errorf("stale: %v, %v", ids(us), err)
	}
	if us, err := s.Stale(ctx, upload.Queued, true, at(9), 10); err != nil || !cmp.Equal(ids(us), []string{b.ID}) {
		t.Errorf("stale and staged: %v, %v", ids(us), err)
	}
}
