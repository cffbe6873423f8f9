package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/services/metadata"
)

func sorted(names ...string) []string {
	var out []string
	for _, n := range names {
		out = append(out, ident(n))
	}
	slices.Sort(out)
	return out
}

// viewers are who may look, with the classes of what they see: of others, of their own.
func viewers() map[string]metadata.Viewer {
	return map[string]metadata.Viewer{
		"all":      {All: true},
		"nobody":   {},
		"child":    {UserID: ident("child"), Classes: []int64{class("open").GetId()}},
		"listener": {UserID: ident("listener"), Classes: []int64{class("open").GetId(), class("explicit").GetId()}},
		"owner":    {UserID: ident("o"), Classes: []int64{class("open").GetId()}},
		"stranger": {UserID: ident("o2")},
	}
}

func seen(v metadata.Viewer, owner, className string) bool {
	return v.All || v.UserID == ident(owner) || slices.Contains(v.Classes, class(className).GetId())
}

// one thing of a list: its name is its sort key.
type thing struct {
	name, owner, class string
	added              int64
}

func things() []thing {
	var out []thing
	classes, owners := []string{"open", "explicit", "withdrawn"}, []string{"o", "o2"}
	for i := range 30 {
		// Names and times are not in the order of making; several share a time.
		out = append(out, thing{fmt.Sprintf("n%02d", i*7%30), owners[i/3%2], classes[i%3], int64(i / 4)})
	}
	return out
}

// pages reads a list to its end in pages of each size, and wants it the same each time.
func pages[T proto.Message](what string, want []string, id func(T) string, read func(after *metadata.Cursor, limit int) (metadata.Page[T], error)) error {
	for _, limit := range []int{1, 3, 10, len(want), 100} {
		var got []string
		var after *metadata.Cursor
		for limit > 0 {
			page, err := read(after, limit)
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			if page.Total != uint64(len(want)) {
				return fmt.Errorf("%s: total %d, want %d", what, page.Total, len(want))
			}
			if len(page.Items) > limit {
				return fmt.Errorf("%s: a page of %d, limit %d", what, len(page.Items), limit)
			}
			for _, item := range page.Items {
				got = append(got, id(item))
			}
			if after = page.Next; after == nil {
				break
			}
			if len(page.Items) == 0 || len(got) > len(want) {
				return fmt.Errorf("%s: pages without end", what)
			}
		}
		if limit > 0 {
			if err := same(fmt.Sprintf("%s in pages of %d", what, limit), want, got); err != nil {
				return err
			}
		}
	}
	return nil
}

// expect are the ids a viewer sees, in an order.
func expect(v metadata.Viewer, all []thing, before func(a, b thing) int, only func(thing) bool) []string {
	var list []thing
	for _, th := range all {
		if seen(v, th.owner, th.class) && only(th) {
			list = append(list, th)
		}
	}
	slices.SortFunc(list, before)
	var out []string
	for _, th := range list {
		out = append(out, ident(th.name))
	}
	return out
}

func byName(a, b thing) int { return cmpString(a.name, b.name) }

func byAdded(a, b thing) int {
	if a.added != b.added {
		return int(b.added - a.added)
	}
	return cmpString(ident(b.name), ident(a.name))
}

// byDate: an album's date is made from its time of adding, reversed.
func byDate(a, b thing) int {
	if a.added != b.added {
		return int(a.added - b.added)
	}
	return cmpString(ident(b.name), ident(a.name))
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func anyThing(thing) bool { return true }

func checkListTracks(ctx context.Context, e Engine) error {
	all := things()
	for _, th := range all {
		if err := e.Store.Change(ctx, always(putTrack(track(th.name, th.owner, th.class, th.added)))); err != nil {
			return err
		}
	}
	id := func(r *metadatav1.TrackRecord) string { return r.GetTrack().GetId() }
	var errs []error
	for name, v := range viewers() {
		for order, before := range map[metadata.Order]func(a, b thing) int{metadata.OrderAdded: byAdded, metadata.OrderTitle: byName} {
			for _, owner := range []string{"", "o", "o2", "nobody"} {
				q := metadata.TrackQuery{Viewer: v, Order: order}
				if owner != "" {
					q.OwnerID = ident(owner)
				}
				want := expect(v, all, before, func(th thing) bool { return owner == "" || th.owner == owner })
				errs = append(errs, pages(fmt.Sprintf("tracks of %q by %s for %s", owner, order, name), want, id,
					func(after *metadata.Cursor, limit int) (metadata.Page[*metadatav1.TrackRecord], error) {
						q.After, q.Limit = after, limit
						return e.Store.ListTracks(ctx, q)
					}))
			}
		}
	}
	return errors.Join(errs...)
}

func checkListAlbums(ctx context.Context, e Engine) error {
	all := things()
	for _, th := range all {
		if err := e.Store.Change(ctx, always(&metadata.Change{Albums: []metadata.AlbumChange{{After: album(th.name, th.owner, th.class, th.added)}}})); err != nil {
			return err
		}
	}
	// One without tracks is in no list, and one with a hidden and an open part is seen.
	empty, mixed := album("empty", "o", "open", 1), album("n99", "o", "withdrawn", 99)
	empty.Album.TrackCount, empty.Shares = 0, nil
	mixed.Shares = append(mixed.Shares, &metadatav1.Share{ClassId: class("open").GetId(), OwnerId: ident("o"), Tracks: 1})
	all = append(all, thing{"n99", "o", "open", 99})
	if err := e.Store.Change(ctx, always(&metadata.Change{Albums: []metadata.AlbumChange{{After: empty}, {After: mixed}}})); err != nil {
		return err
	}
	// What is moved is found where it is now.
	if err := e.Store.Change(ctx, func(ctx context.Context, v metadata.View) (*metadata.Change, error) {
		before, err := v.Album(ctx, ident("n00"))
		if err != nil {
			return nil, err
		}
		after := proto.CloneOf(before)
		after.Album.Revision++
		after.Shares[0].ClassId = class("withdrawn").GetId()
		return &metadata.Change{Albums: []metadata.AlbumChange{{Before: before, After: after}}}, nil
	}); err != nil {
		return err
	}
	for i := range all {
		if all[i].name == "n00" {
			all[i].class = "withdrawn"
		}
	}
	id := func(r *metadatav1.AlbumRecord) string { return r.GetAlbum().GetId() }
	var errs []error
	for name, v := range viewers() {
		for order, before := range map[metadata.Order]func(a, b thing) int{
			metadata.OrderAdded: byAdded, metadata.OrderTitle: byName, metadata.OrderArtist: byName, metadata.OrderDate: byDate,
		} {
			errs = append(errs, pages(fmt.Sprintf("albums by %s for %s", order, name), expect(v, all, before, anyThing), id,
				func(after *metadata.Cursor, limit int) (metadata.Page[*metadatav1.AlbumRecord], error) {
					return e.Store.ListAlbums(ctx, metadata.AlbumQuery{Viewer: v, Order: order, After: after, Limit: limit})
				}))
		}
	}
	return errors.Join(errs...)
}

func checkListArtists(ctx context.Context, e Engine) error {
	all := things()
	for _, th := range all {
		if err := e.Store.Change(ctx, always(&metadata.Change{Artists: []metadata.ArtistChange{{After: artist(th.name, th.owner, th.class)}}})); err != nil {
			return err
		}
	}
	empty := artist("empty", "o", "open")
	empty.Shares = nil
	if err := e.Store.Change(ctx, always(&metadata.Change{Artists: []metadata.ArtistChange{{After: empty}}})); err != nil {
		return err
	}
	var errs []error
	for name, v := range viewers() {
		errs = append(errs, pages("artists for "+name, expect(v, all, byName, anyThing), func(r *metadatav1.ArtistRecord) string { return r.GetArtist().GetId() },
			func(after *metadata.Cursor, limit int) (metadata.Page[*metadatav1.ArtistRecord], error) {
				return e.Store.ListArtists(ctx, metadata.ArtistQuery{Viewer: v, After: after, Limit: limit})
			}))
	}
	return errors.Join(errs...)
}

// checkArtistAlbums: own ones and those of others, as far as they are seen.
func checkArtistAlbums(ctx context.Context, e Engine) error {
	ar := artist("ar", "o", "open")
	c := metadata.ArtistChange{After: ar}
	change := &metadata.Change{}
	var own, guest []thing
	for i, th := range things() {
		th.added = int64(i)
		change.Albums = append(change.Albums, metadata.AlbumChange{After: album(th.name, th.owner, th.class, th.added)})
		c.Put = append(c.Put, &metadatav1.ArtistMember{
			TrackId: ident("track " + th.name), AlbumId: ident(th.name), ClassId: class(th.class).GetId(), OwnerId: ident(th.owner),
		})
		if i%2 == 0 {
			own, c.Link = append(own, th), append(c.Link, ident(th.name))
		} else {
			guest = append(guest, th)
		}
	}
	change.Artists = []metadata.ArtistChange{c}
	if err := e.Store.Change(ctx, always(change)); err != nil {
		return err
	}
	ids := func(list []*metadatav1.AlbumRecord) (out []string) {
		for _, r := range list {
			out = append(out, r.GetAlbum().GetId())
		}
		return out
	}
	var errs []error
	for name, v := range viewers() {
		gotOwn, gotOthers, err := e.Store.ArtistAlbums(ctx, ident("ar"), v, 100)
		wantOwn := expect(v, own, byDate, anyThing)
		errs = append(errs, err, same("own albums for "+name, wantOwn, ids(gotOwn)),
			same("albums of others for "+name, expect(v, guest, byDate, anyThing), ids(gotOthers)))
		gotOwn, gotOthers, err = e.Store.ArtistAlbums(ctx, ident("ar"), v, 2)
		errs = append(errs, err, same("at most two", true, len(gotOwn) <= 2 && len(gotOthers) <= 2))
		counts, err := e.Store.CountArtistAlbums(ctx, []string{ident("ar"), ident("none")}, v)
		errs = append(errs, err, same("number of albums for "+name, len(wantOwn), int(counts[ident("ar")])), same("of no artist", 0, int(counts[ident("none")])))
	}
	return errors.Join(errs...)
}

func checkClasses(ctx context.Context, e Engine) error {
	for i, name := range []string{"open", "explicit", "open"} {
		if err := e.Store.Change(ctx, always(putTrack(track(fmt.Sprint(i), "o", name, 1)))); err != nil {
			return err
		}
	}
	got, err := e.Store.Classes(ctx)
	slices.SortFunc(got, func(a, b *metadatav1.VisibilityClass) int { return int(a.GetId() - b.GetId()) })
	errs := []error{err, same("classes", []*metadatav1.VisibilityClass{class("open"), class("explicit")}, got)}
	// A track that changes its class is counted in the new one.
	before := track("0", "o", "open", 1)
	after := proto.CloneOf(before)
	after.Track.Revision, after.Class = 2, class("withdrawn")
	errs = append(errs, e.Store.Change(ctx, always(&metadata.Change{Tracks: []metadata.TrackChange{{Before: before, After: after}}})))
	page, err := e.Store.ListTracks(ctx, metadata.TrackQuery{Viewer: viewers()["listener"], Order: metadata.OrderTitle, Limit: 10})
	return errors.Join(append(errs, err, same("seen", 2, len(page.Items)), same("total", uint64(2), page.Total))...)
}

// checkRead: reads by id, and an album's tracks in its order.
func checkRead(ctx context.Context, e Engine) error {
	al := album("al", "o", "open", 1)
	c := &metadata.Change{Albums: []metadata.AlbumChange{{After: al}}, Artists: []metadata.ArtistChange{{After: artist("ar", "o", "open")}}}
	for _, at := range []struct {
		name         string
		disc, number uint32
	}{{"d", 2, 1}, {"c", 1, 10}, {"b", 1, 2}, {"a", 1, 1}} {
		c.Albums[0].Put = append(c.Albums[0].Put, &metadatav1.AlbumMember{TrackId: ident(at.name), Disc: at.disc, Number: at.number})
		c.Tracks = append(c.Tracks, metadata.TrackChange{After: track(at.name, "o", "open", 1)})
	}
	if err := e.Store.Change(ctx, always(c)); err != nil {
		return err
	}
	titles := func(list []*metadatav1.TrackRecord) (out []string) {
		for _, r := range list {
			out = append(out, r.GetTrack().GetTitle())
		}
		return out
	}
	inAlbum, err1 := e.Store.AlbumTracks(ctx, ident("al"))
	asked, err2 := e.Store.Tracks(ctx, []string{ident("c"), ident("none"), ident("a"), ident("d")})
	gotAl, err3 := e.Store.Album(ctx, ident("al"))
	gotAr, err4 := e.Store.Artist(ctx, ident("ar"))
	none, err5 := e.Store.AlbumTracks(ctx, ident("none"))
	_, err6 := e.Store.Album(ctx, ident("none"))
	_, err7 := e.Store.Artist(ctx, ident("none"))
	return errors.Join(err1, err2, err3, err4, err5,
		same("tracks of the album", []string{"a", "b", "c", "d"}, titles(inAlbum)), same("tracks asked for", []string{"c", "a", "d"}, titles(asked)),
		same("album", al, gotAl), same("artist", artist("ar", "o", "open"), gotAr), same("tracks of no album", 0, len(none)),
		wants("no album", metadata.ErrNotFound, err6), wants("no artist", metadata.ErrNotFound, err7))
}
