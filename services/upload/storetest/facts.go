package storetest

import (
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/services/upload"
)

func testObjects(t T, s upload.Store) {
	ctx := t.Context()
	old, u := New(owner, 1), New(owner, 2)
	create(t, s, old, u)
	object := func(name, uploadID string, kbps int, state upload.ObjectState, seconds int) upload.Object {
		return upload.Object{ID: name, UploadID: uploadID, TrackID: "t", Kbps: kbps, State: state, At: at(seconds)}
	}
	kept := object("00", old.ID, 96, upload.ObjectPublished, 1)
	orphan := object("01", old.ID, 160, upload.ObjectSealed, 2)
	if err := s.Save(ctx, upload.Change{Upload: old, Objects: []upload.Object{kept, orphan}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Objects(ctx, old.ID); err != nil || !cmp.Equal(got, []upload.Object{kept, orphan}) {
		t.Errorf("objects %v, %v", got, err)
	}
	mine := object("02", u.ID, 96, upload.ObjectSealed, 3)
	u.Updated, u.TrackID = at(7), "t"
	foreign := object("03", old.ID, 96, upload.ObjectPublished, 1)
	foreign.TrackID = "another"
	if err := s.Save(ctx, upload.Change{Upload: get(t, s, old.ID), Objects: []upload.Object{foreign}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(ctx, upload.Change{Upload: u, Objects: []upload.Object{mine}, RetireOthers: true}); err != nil {
		t.Fatal(err)
	}
	retired := kept
	retired.State, retired.At = upload.ObjectRetired, at(7)
	if got, err := s.StaleObjects(ctx, upload.ObjectRetired, at(8), 9); err != nil || !cmp.Equal(got, []upload.Object{retired}) {
		t.Errorf("retired %v, %v", got, err)
	}
	if got, err := s.StaleObjects(ctx, upload.ObjectSealed, at(3), 9); err != nil || !cmp.Equal(got, []upload.Object{orphan}) {
		t.Errorf("sealed %v, %v", got, err)
	}
	u = get(t, s, u.ID)
	mine.State, orphan.UploadID = upload.ObjectPublished, u.ID
	if err := s.Save(ctx, upload.Change{Upload: u, Objects: []upload.Object{mine, orphan}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Objects(ctx, u.ID); err != nil || !cmp.Equal(got, []upload.Object{mine, orphan}) {
		t.Errorf("objects %v, %v", got, err)
	}
	for range 2 {
		if err := s.DropObject(ctx, orphan.ID); err != nil {
			t.Error(err)
		}
	}
	if got, err := s.Objects(ctx, u.ID); err != nil || !cmp.Equal(got, []upload.Object{mine}) {
		t.Errorf("objects %v, %v", got, err)
	}
}

func testPrints(t T, s upload.Store) {
	ctx := t.Context()
	u := New(owner, 1)
	create(t, s, u)
	put := func(p upload.Print) {
		t.Helper()
		if err := s.Save(ctx, upload.Change{Upload: get(t, s, u.ID), Print: &p}); err != nil {
			t.Fatal(err)
		}
	}
	tracks := func(ps []upload.Print) (out []string) {
		for _, p := range ps {
			out = append(out, p.TrackID)
		}
		return out
	}
	put(upload.Print{TrackID: "a", OwnerID: owner, PCM: "1", Items: []uint32{1, 1 << 31}, Terms: []uint32{1, 2, 3, 4}})
	put(upload.Print{TrackID: "b", OwnerID: other, PCM: "2", Items: []uint32{2}, Terms: []uint32{2, 3, 4, 5}})
	put(upload.Print{TrackID: "c", OwnerID: owner, PCM: "1"})
	put(upload.Print{TrackID: "d", OwnerID: owner, PCM: "3", Terms: []uint32{4, 1 << 27}})
	put(upload.Print{TrackID: "e", OwnerID: owner})
	p, err := s.Print(ctx, "a")
	if diff := cmp.Diff(upload.Print{TrackID: "a", OwnerID: owner, PCM: "1", Items: []uint32{1, 1 << 31}}, p); diff != "" || err != nil {
		t.Error(diff, err)
	}
	got, err := s.SimilarPrints(ctx, upload.Print{TrackID: "a", PCM: "1", Terms: []uint32{1, 2, 3, 4}}, 2, 9)
	if diff := cmp.Diff([]string{"c", "b"}, tracks(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, err := s.SimilarPrints(ctx, upload.Print{TrackID: "x", PCM: "1", Terms: []uint32{1, 2, 3, 4}}, 1, 2); err != nil || len(got) != 2 {
		t.Errorf("at most two: %v, %v", tracks(got), err)
	}
	if got, err := s.SimilarPrints(ctx, upload.Print{TrackID: "x"}, 1, 9); err != nil || len(got) > 0 {
		t.Errorf("of nothing: %v, %v", tracks(got), err)
	}
	put(upload.Print{TrackID: "b", OwnerID: other, PCM: "9", Terms: []uint32{70}})
	if got, err := s.SimilarPrints(ctx, upload.Print{TrackID: "a", Terms: []uint32{2, 3, 4}}, 2, 9); err != nil || len(got) > 0 {
		t.Errorf("terms of a replaced print: %v, %v", tracks(got), err)
	}
	if _, err := s.Print(ctx, "none"); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}

func testWatched(t T, s upload.Store) {
	ctx := t.Context()
	list := func(folder string) (out []upload.WatchedFile) {
		t.Helper()
		for f, err := range s.WatchedFiles(ctx, folder) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, f)
		}
		return out
	}
	u := New(owner, 1)
	u.Path = "a/\xfe.mp3"
	f := upload.WatchedFile{
		Folder: "/m", Path: u.Path, Size: 7, ModTime: time.Unix(3, 999).UTC(), Device: 1 << 63, Inode: 1<<64 - 1, UploadID: u.ID,
	}
	if err := s.Create(ctx, upload.Creation{Uploads: []upload.Upload{u}, Files: []upload.WatchedFile{f}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]upload.WatchedFile{f}, list("/m")); diff != "" {
		t.Error(diff)
	}
	if got := list("/other"); len(got) > 0 {
		t.Errorf("another folder: %v", got)
	}
	f.Size = 8
	if err := s.Save(ctx, upload.Change{Upload: get(t, s, u.ID), Watched: &f}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]upload.WatchedFile{f}, list("/m")); diff != "" {
		t.Error(diff)
	}
	before := get(t, s, u.ID)
	if err := s.MoveWatched(ctx, "/m", f.Path, "b.mp3"); err != nil {
		t.Fatal(err)
	}
	f.Path = "b.mp3"
	if diff := cmp.Diff([]upload.WatchedFile{f}, list("/m")); diff != "" {
		t.Error(diff)
	}
	if got := get(t, s, u.ID); got.Path != "b.mp3" || got.Revision == before.Revision {
		t.Errorf("upload is at %q, revision %d", got.Path, got.Revision)
	}
	if err := s.Save(ctx, upload.Change{Upload: before}); !errors.Is(err, upload.ErrConflict) {
		t.Errorf("a change made before the move: error %v, want ErrConflict", err)
	}
}
