package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"

	"github.com/segue-music/segue/services/metadata"
)

func checkClaims(ctx context.Context, e Engine) error {
	claim := func(key, id string) error {
		return e.Store.Change(ctx, always(&metadata.Change{Claims: []metadata.Claim{{Key: key, ID: id}}}))
	}
	return errors.Join(
		wants("a free key", nil, claim("k1", "a")),
		wants("the same claim again", nil, claim("k1", "a")),
		wants("a key that another has", metadata.ErrConflict, claim("k1", "b")),
		wants("another key", nil, claim("k2", "b")),
		see(ctx, e.Store, func(ctx context.Context, v metadata.View) error {
			got, err := v.Keys(ctx, []string{"k1", "k2", "k3"})
			none, err2 := v.Keys(ctx, nil)
			return errors.Join(err, err2, same("keys", map[string]string{"k1": "a", "k2": "b"}, got), same("no keys", 0, len(none)))
		}),
	)
}

// checkRevisions: each entity is compared and set.
func checkRevisions(ctx context.Context, e Engine) error {
	t, al, ar := track("t", "o", "open", 1), album("al", "o", "open", 1), artist("ar", "o", "open")
	all := func(before bool, revision uint64) *metadata.Change {
		t2, al2, ar2 := proto.CloneOf(t), proto.CloneOf(al), proto.CloneOf(ar)
		t2.Track.Revision, al2.Album.Revision, ar2.Artist.Revision = revision, revision, revision
		c := &metadata.Change{
			Tracks: []metadata.TrackChange{{After: t2}}, Albums: []metadata.AlbumChange{{After: al2}}, Artists: []metadata.ArtistChange{{After: ar2}},
		}
		if before {
			tb, alb, arb := proto.CloneOf(t2), proto.CloneOf(al2), proto.CloneOf(ar2)
			tb.Track.Revision, alb.Album.Revision, arb.Artist.Revision = revision-1, revision-1, revision-1
			c.Tracks[0].Before, c.Albums[0].Before, c.Artists[0].Before = tb, alb, arb
		}
		return c
	}
	change := func(c *metadata.Change) error { return e.Store.Change(ctx, always(c)) }
	errs := []error{
		wants("update of what is not there", metadata.ErrConflict, change(&metadata.Change{Tracks: all(true, 2).Tracks})),
		wants("new ones", nil, change(all(false, 1))),
		wants("the next revision", nil, change(all(true, 2))),
	}
	for what, c := range map[string]*metadata.Change{
		"a track made twice": {Tracks: all(false, 1).Tracks}, "an album made twice": {Albums: all(false, 1).Albums},
		"an artist made twice": {Artists: all(false, 1).Artists},
		"an old track":         {Tracks: all(true, 2).Tracks}, "an old album": {Albums: all(true, 2).Albums}, "an old artist": {Artists: all(true, 2).Artists},
		"a track of the future": {Tracks: all(true, 9).Tracks},
	} {
		errs = append(errs, wants(what, metadata.ErrConflict, change(c)))
	}
	return errors.Join(append(errs, see(ctx, e.Store, func(ctx context.Context, v metadata.View) error {
		want := all(true, 2)
		gotT, err1 := v.Track(ctx, ident("t"))
		gotAl, err2 := v.Album(ctx, ident("al"))
		gotAr, err3 := v.Artist(ctx, ident("ar"))
		noT, err4 := v.Track(ctx, ident("none"))
		noAl, err5 := v.Album(ctx, ident("none"))
		noAr, err6 := v.Artist(ctx, ident("none"))
		return errors.Join(err1, err2, err3, err4, err5, err6,
			same("track", want.Tracks[0].After, gotT), same("album", want.Albums[0].After, gotAl), same("artist", want.Artists[0].After, gotAr),
			same("what is not there is nil", true, noT == nil && noAl == nil && noAr == nil))
	}))...)
}

// checkFailedPlan: a plan that fails, and a conflict, leave the entity and its events alone.
func checkFailedPlan(ctx context.Context, e Engine) error {
	errPlan := errors.New("plan failed")
	failing := func(context.Context, metadata.View) (*metadata.Change, error) {
		return putTrack(track("t", "o", "open", 1)), errPlan
	}
	stale := track("t", "o", "open", 1)
	stale.Track.Revision = 5
	conflict := &metadata.Change{Tracks: []metadata.TrackChange{{
		Before: stale, After: stale, Events: []*eventv1.Envelope{envelope("track:"+ident("t"), 5, 0)},
	}}}
	errs := []error{
		wants("a plan that fails", errPlan, e.Store.Change(ctx, failing)),
		wants("a conflict", metadata.ErrConflict, e.Store.Change(ctx, always(conflict))),
		wants("no change", nil, e.Store.Change(ctx, always(nil))),
		wants("an empty change", nil, e.Store.Change(ctx, always(&metadata.Change{}))),
	}
	got, err := e.Store.Tracks(ctx, []string{ident("t")})
	events, err2 := e.Events(ctx)
	return errors.Join(append(errs, err, err2, same("tracks", 0, len(got)), same("events", 0, len(events)))...)
}

// checkEvents: the events of a change come once each, in order per entity.
func checkEvents(ctx context.Context, e Engine) error {
	var want []string
	last := track("t", "o", "open", 1)
	subject := "track:" + last.GetTrack().GetId()
	for rev := uint64(1); rev <= 5; rev++ {
		next := proto.CloneOf(last)
		next.Track.Revision = rev
		c := metadata.TrackChange{After: next}
		if rev > 1 {
			c.Before = last
		}
		for n := range 2 {
			ev := envelope(subject, rev, n)
			c.Events = append(c.Events, ev)
			want = append(want, ev.GetId())
		}
		if err := e.Store.Change(ctx, always(&metadata.Change{Tracks: []metadata.TrackChange{c}})); err != nil {
			return err
		}
		last = next
	}
	al, ar := album("al", "o", "open", 1), artist("ar", "o", "open")
	err := e.Store.Change(ctx, always(&metadata.Change{
		Artists: []metadata.ArtistChange{{After: ar, Events: []*eventv1.Envelope{envelope("artist:"+ar.GetArtist().GetId(), 1, 0)}}},
		Albums:  []metadata.AlbumChange{{After: al, Events: []*eventv1.Envelope{envelope("album:"+al.GetAlbum().GetId(), 1, 0)}}},
	}))
	if err != nil {
		return err
	}
	events, err := e.Events(ctx)
	if err != nil {
		return err
	}
	var got []string
	others := map[string]int{}
	for _, ev := range events {
		if ev.GetSubject() == subject {
			got = append(got, ev.GetId())
		} else {
			others[ev.GetSubject()]++
		}
	}
	return errors.Join(same("events of the track", want, got),
		same("other events", map[string]int{"artist:" + ident("ar"): 1, "album:" + ident("al"): 1}, others))
}

// checkMembers: members of albums and artists are put, replaced, dropped and paged.
func checkMembers(ctx context.Context, e Engine) error {
	al, ar := album("al", "o", "open", 1), artist("ar", "o", "open")
	member := func(name string, disc, number uint32) *metadatav1.AlbumMember {
		return &metadatav1.AlbumMember{TrackId: ident(name), Disc: disc, Number: number, Title: name}
	}
	named := func(name string) *metadatav1.ArtistMember {
		return &metadatav1.ArtistMember{TrackId: ident(name), AlbumId: ident("al"), Name: name, ClassId: 11, OwnerId: ident("o")}
	}
	err := e.Store.Change(ctx, always(&metadata.Change{
		Albums: []metadata.AlbumChange{{After: al, Put: []*metadatav1.AlbumMember{member("a", 1, 1), member("b", 1, 1), member("c", 2, 1), member("d", 1, 2)}}},
		Artists: []metadata.ArtistChange{{
			After: ar, Put: []*metadatav1.ArtistMember{named("a"), named("b"), named("c")}, Link: []string{ident("al"), ident("al2")},
		}},
	}))
	if err != nil {
		return err
	}
	al2, ar2 := proto.CloneOf(al), proto.CloneOf(ar)
	al2.Album.Revision, ar2.Artist.Revision = 2, 2
	moved := named("b")
	moved.Name = "B"
	err = e.Store.Change(ctx, always(&metadata.Change{
		Albums:  []metadata.AlbumChange{{Before: al, After: al2, Put: []*metadatav1.AlbumMember{member("b", 3, 9)}, Drop: []string{ident("d")}}},
		Artists: []metadata.ArtistChange{{Before: ar, After: ar2, Put: []*metadatav1.ArtistMember{moved}, Drop: []string{ident("c")}, Unlink: []string{ident("al2")}}},
	}))
	if err != nil {
		return err
	}
	return see(ctx, e.Store, func(ctx context.Context, v metadata.View) error {
		var errs []error
		for name, want := range map[string]*metadatav1.AlbumMember{"a": member("a", 1, 1), "b": member("b", 3, 9), "d": nil} {
			got, err := v.AlbumMember(ctx, ident("al"), ident(name))
			errs = append(errs, err, same("album member "+name, want, got))
		}
		for name, want := range map[string]*metadatav1.ArtistMember{"a": named("a"), "b": moved, "c": nil} {
			got, err := v.ArtistMember(ctx, ident("ar"), ident(name))
			errs = append(errs, err, same("artist member "+name, want, got))
		}
		slot, err := v.AlbumSlot(ctx, ident("al"), 1, 1)
		errs = append(errs, err, same("disc 1, number 1", []*metadatav1.AlbumMember{member("a", 1, 1)}, slot))
		slot, err = v.AlbumSlot(ctx, ident("al"), 1, 2)
		errs = append(errs, err, same("disc 1, number 2", 0, len(slot)))
		for name, want := range map[string]bool{"al": true, "al2": false} {
			on, err := v.OnAlbum(ctx, ident("ar"), ident(name))
			errs = append(errs, err, same("the artist is on "+name, want, on))
		}
		for what, of := range map[string]struct {
			list func(context.Context, string, string, int) ([]string, error)
			id   string
			want []string
		}{
			"album member ids":  {v.AlbumMemberIDs, ident("al"), sorted("a", "b", "c")},
			"artist member ids": {v.ArtistMemberIDs, ident("ar"), sorted("a", "b")},
			"artist album ids":  {v.ArtistAlbumIDs, ident("ar"), sorted("al")},
		} {
			var got []string
			for after := ""; ; after = got[len(got)-1] {
				page, err := of.list(ctx, of.id, after, 1)
				errs = append(errs, err)
				if got = append(got, page...); len(page) == 0 {
					break
				}
			}
			errs = append(errs, same(what, of.want, got))
		}
		return errors.Join(errs...)
	})
}

// checkMarks: a mark is due when it says, and goes only when it was not set anew.
func checkMarks(ctx context.Context, e Engine) error {
	t0 := time.UnixMilli(1_700_000_000_123).UTC()
	a := metadata.Mark{Kind: metadata.KindAlbum, ID: ident("x"), Due: t0}
	b := metadata.Mark{Kind: metadata.KindArtist, ID: ident("x"), Due: t0.Add(-time.Second)}
	later := a
	later.Due = t0.Add(time.Minute)
	set := func(m ...metadata.Mark) error { return e.Store.Change(ctx, always(&metadata.Change{Marks: m})) }
	done := func(m ...metadata.Mark) error { return e.Store.Change(ctx, always(&metadata.Change{Done: m})) }
	due := func(now time.Time, want ...metadata.Mark) error {
		got, err := e.Store.Marks(ctx, now, 10)
		return errors.Join(err, same(fmt.Sprint("marks at ", now), want, got))
	}
	next := func(want time.Time) error {
		got, err := e.Store.NextMark(ctx)
		return errors.Join(err, same("the next mark", want, got))
	}
	return errors.Join(
		next(time.Time{}), set(a, b), next(b.Due),
		due(t0.Add(-time.Minute)), due(t0.Add(-time.Millisecond), b), due(t0, b, a),
		set(later), done(a, b), due(t0.Add(time.Hour), later), next(later.Due),
		done(later), due(t0.Add(time.Hour)), next(time.Time{}),
	)
}

// checkConcurrent: plans that run at once lose nothing to each other.
func checkConcurrent(ctx context.Context, e Engine) error {
	const writers, rounds = 8, 5
	add := func(ctx context.Context, v metadata.View) (*metadata.Change, error) {
		before, err := v.Album(ctx, ident("al"))
		if err != nil {
			return nil, err
		}
		after := album("al", "o", "open", 1)
		if before != nil {
			after = proto.CloneOf(before)
			after.Album.Revision++
			after.Album.TrackCount++
		}
		return &metadata.Change{Albums: []metadata.AlbumChange{{
			Before: before, After: after, Events: []*eventv1.Envelope{envelope("album:"+ident("al"), after.GetAlbum().GetRevision(), 0)},
		}}}, nil
	}
	errs := make(chan error)
	for range writers {
		go func() {
			var all error
			for range rounds {
				all = errors.Join(all, e.Store.Change(ctx, add))
			}
			errs <- all
		}()
	}
	var all error
	for range writers {
		all = errors.Join(all, <-errs)
	}
	got, err := e.Store.Album(ctx, ident("al"))
	events, err2 := e.Events(ctx)
	all = errors.Join(all, err, err2, same("additions", uint32(writers*rounds), got.GetAlbum().GetTrackCount()), same("events", writers*rounds, len(events)))
	for i, ev := range events {
		all = errors.Join(all, same("revision of an event", uint64(i+1), ev.GetRevision()))
	}
	return all
}
