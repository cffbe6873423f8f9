//go:build engines

package cassandra_test

import (
	order "cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"

	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/services/metadata/cassandra"
	"github.com/segue-music/segue/services/metadata/sqlite"
)

// twin is a catalogue that is made by the same calls as another, with the same ids and
// times, and so is the same.
type twin struct {
	t       *testing.T
	store   metadata.Store
	puts    metadatav1connect.IngestServiceClient
	owns    metadatav1connect.CatalogueServiceClient
	service *metadata.Service
	now     time.Time
}

func newTwin(t *testing.T, store metadata.Store, of string) *twin {
	t.Helper()
	w := &twin{t: t, store: store, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	puts, server, service := ingest(t, store, newIDs(of), func() time.Time { w.now = w.now.Add(time.Second); return w.now })
	admin := identity.Identity{Target: "gateway", UserID: key("admin"), Roles: []authv1.Role{authv1.Role_ROLE_ADMIN}}
	w.puts, w.service, w.owns = puts, service, metadatav1connect.NewCatalogueServiceClient(server.As(admin), rpctest.URL)
	return w
}

// put is one file: its artist is the album's too unless that has another.
func (w *twin) put(n int, owner, artist, albumArtist, album string, number int, explicit bool) {
	w.t.Helper()
	tags := &metadatav1.FileTags{
		Title: fmt.Sprint("Song ", n), Artists: []string{artist}, AlbumArtists: []string{albumArtist}, Album: album, Number: uint32(number), Disc: 1,
		Date: fmt.Sprint(1990 + len(album)%20), FolderKey: "folder " + album, Explicit: explicit,
	}
	_, err := w.puts.PutTrack(w.t.Context(), &metadatav1.PutTrackRequest{
		TrackId: key("file", n), OwnerId: key(owner), DurationMs: 100_000, FileName: fmt.Sprintf("%03d.flac", number), Tags: tags,
	})
	if err != nil {
		w.t.Fatalf("put %d: %v", n, err)
	}
}

func (w *twin) withdraw(n int) {
	w.t.Helper()
	got, err := w.owns.GetTracks(w.t.Context(), &metadatav1.GetTracksRequest{Ids: []string{key("file", n)}})
	if err != nil || len(got.GetTracks()) != 1 {
		w.t.Fatalf("track %d: %v", n, err)
	}
	_, err = w.owns.SetAvailability(w.t.Context(), &metadatav1.SetAvailabilityRequest{
		TrackId: key("file", n), Revision: got.GetTracks()[0].GetRevision(), Availability: &metadatav1.Availability{Withdrawn: true},
	})
	if err != nil {
		w.t.Fatalf("withdraw %d: %v", n, err)
	}
}

// largeAlbum has more members than an album's partition.
const largeAlbum = 135

// begin makes a catalogue with all that one may have: a large album of a large artist, guests,
// two owners, hidden tracks, an album that lost its tracks, and marks that are due.
func (w *twin) begin() {
	w.t.Helper()
	n := 0
	next := func() int { n++; return n }
	for i := range largeAlbum {
		w.put(next(), "owner", "Many", "Many", "Complete Works", i+1, i%9 == 0)
	}
	for a := range 3 {
		for i := range 4 {
			w.put(next(), []string{"owner", "other"}[i%2], fmt.Sprint("Band ", a), fmt.Sprint("Band ", a), fmt.Sprint("Record ", a), i+1, false)
		}
	}
	for i := range 6 {
		w.put(next(), "owner", fmt.Sprint("Band ", i%3), "Various Artists", "Sampler", i+1, false)
	}
	w.put(next(), "owner", "Many", "Band 0", "Record 0", 9, false) // a guest
	w.put(next(), "other", "Nobody", "Nobody", "Left", 1, false)
	w.put(n, "other", "Somebody", "Somebody", "Went", 1, false) // the same file, with other tags
	w.withdraw(3)
	w.withdraw(largeAlbum + 2)
}

// goOn makes ordinary changes of what is there.
func (w *twin) goOn() {
	w.t.Helper()
	if err := w.service.Spread(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	n := 1000
	for i := range 8 {
		n++
		w.put(n, "owner", "Many", "Many", "Complete Works", largeAlbum+i+1, false)
	}
	w.put(5, "owner", "Many", "Many", "Single", 1, false)                       // leaves a large album
	w.put(6, "owner", "Fresh", "Fresh", "Complete Works", 6, true)              // another artist, and hidden from some
	w.put(largeAlbum+1, "owner", "Band 0", "Band 0", "Record 0 Live", 1, false) // leaves a small one
	w.put(2000, "third", "BAND 1", "Band 1", "Record 1", 7, false)              // known by another spelling
	w.withdraw(4)
	w.now = w.now.Add(time.Hour)
	if err := w.service.Spread(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// known are the names of what a catalogue has.
type known struct {
	tracks, albums, artists []string
	keys                    []string
}

func content(t *testing.T, s *sqlite.Store) (k known) {
	t.Helper()
	ctx := t.Context()
	err := s.Dump(ctx, func(d metadata.Dump) error {
		for _, r := range all(t, d.Tracks(ctx)) {
			k.tracks = append(k.tracks, r.GetTrack().GetId())
		}
		for _, r := range all(t, d.Albums(ctx)) {
			k.albums = append(k.albums, r.GetAlbum().GetId())
		}
		for _, r := range all(t, d.Artists(ctx)) {
			k.artists = append(k.artists, r.GetArtist().GetId())
		}
		for _, c := range all(t, d.Claims(ctx)) {
			k.keys = append(k.keys, c.Key)
		}
		return nil
	})
	if err != nil || len(k.tracks) == 0 || len(k.albums) == 0 || len(k.artists) == 0 || len(k.keys) == 0 {
		t.Fatalf("%d tracks, %d albums, %d artists, %d keys: %v", len(k.tracks), len(k.albums), len(k.artists), len(k.keys), err)
	}
	return k
}

// everything is all that can be read of a store, by what was asked.
func everything(ctx context.Context, s metadata.Store, k known) (map[string]any, error) {
	out := map[string]any{}
	var errs []error
	put := func(what string, v any, err error) { out[what] = v; errs = append(errs, err) }
	classes, err := s.Classes(ctx)
	slices.SortFunc(classes, func(a, b *metadatav1.VisibilityClass) int { return order.Compare(a.GetId(), b.GetId()) })
	put("classes", classes, err)
	viewers := map[string]metadata.Viewer{"all": {All: true}, "nobody": {}, "owner": {UserID: key("owner")}, "other": {UserID: key("other"), Classes: []int64{classes[0].GetId()}}}
	for _, c := range classes {
		viewers[fmt.Sprint("class ", c.GetId())] = metadata.Viewer{Classes: []int64{c.GetId()}}
	}
	for name, v := range viewers {
		for _, owner := range []string{"", key("owner"), key("other")} {
			for _, by := range []metadata.Order{metadata.OrderAdded, metadata.OrderTitle} {
				list, err := walk(func(after *metadata.Cursor) (metadata.Page[*metadatav1.TrackRecord], error) {
					return s.ListTracks(ctx, metadata.TrackQuery{Viewer: v, OwnerID: owner, Order: by, After: after, Limit: 50})
				})
				put(fmt.Sprint(name, " tracks of ", owner, " by ", by), list, err)
			}
		}
		for _, by := range []metadata.Order{metadata.OrderAdded, metadata.OrderTitle, metadata.OrderArtist, metadata.OrderDate} {
			list, err := walk(func(after *metadata.Cursor) (metadata.Page[*metadatav1.AlbumRecord], error) {
				return s.ListAlbums(ctx, metadata.AlbumQuery{Viewer: v, Order: by, After: after, Limit: 3})
			})
			put(fmt.Sprint(name, " albums by ", by), list, err)
		}
		list, err := walk(func(after *metadata.Cursor) (metadata.Page[*metadatav1.ArtistRecord], error) {
			return s.ListArtists(ctx, metadata.ArtistQuery{Viewer: v, After: after, Limit: 3})
		})
		put(name+" artists", list, err)
		for _, id := range k.artists {
			own, others, err := s.ArtistAlbums(ctx, id, v, 100)
			put(name+" albums of "+id, [][]*metadatav1.AlbumRecord{own, others}, err)
		}
		counts, err := s.CountArtistAlbums(ctx, k.artists, v)
		maps.DeleteFunc(counts, func(_ string, n uint32) bool { return n == 0 })
		put(name+" counts", counts, err)
	}
	tracks, err := s.Tracks(ctx, k.tracks)
	put("tracks", tracks, err)
	for _, id := range k.albums {
		album, err := s.Album(ctx, id)
		put("album "+id, album, err)
		list, err := s.AlbumTracks(ctx, id)
		put("tracks of "+id, list, err)
	}
	for _, id := range k.artists {
		artist, err := s.Artist(ctx, id)
		put("artist "+id, artist, err)
	}
	list, err := s.Marks(ctx, time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), 1000)
	slices.SortFunc(list, func(a, b metadata.Mark) int {
		return slices.Compare([]string{string(a.Kind), a.ID}, []string{string(b.Kind), b.ID})
	})
	put("marks", list, err)
	next, err := s.NextMark(ctx)
	put("next mark", next, err)
	err = s.Change(ctx, func(ctx context.Context, v metadata.View) (*metadata.Change, error) {
		return nil, inside(ctx, v, k, put)
	})
	return out, errors.Join(append(errs, err)...)
}

// inside is what a plan sees.
func inside(ctx context.Context, v metadata.View, k known, put func(string, any, error)) error {
	keys, err := v.Keys(ctx, k.keys)
	put("keys", keys, err)
	for _, id := range k.albums {
		members, err := v.AlbumMemberIDs(ctx, id, "", 1000)
		put("members of "+id, members, err)
		for _, track := range members {
			m, err := v.AlbumMember(ctx, id, track)
			put("member "+id+track, m, err)
			slot, err := v.AlbumSlot(ctx, id, m.GetDisc(), m.GetNumber())
			put("slot "+id+track, slot, err)
		}
	}
	for _, id := range k.artists {
		members, err := v.ArtistMemberIDs(ctx, id, "", 1000)
		put("tracks of "+id, members, err)
		for _, track := range members {
			m, err := v.ArtistMember(ctx, id, track)
			put("track "+id+track, m, err)
		}
		albums, err := v.ArtistAlbumIDs(ctx, id, "", 1000)
		put("links of "+id, albums, err)
		for _, album := range k.albums {
			on, err := v.OnAlbum(ctx, id, album)
			put("link "+id+album, on, err)
		}
	}
	return nil
}

// walk reads a list to its end, with the totals.
func walk[T any](read func(after *metadata.Cursor) (metadata.Page[T], error)) (out []any, err error) {
	for after := (*metadata.Cursor)(nil); ; {
		page, err := read(after)
		if err != nil {
			return nil, err
		}
		out = append(out, page.Items, page.Total)
		if after = page.Next; after == nil {
			return out, nil
		}
	}
}

func sameAs(t *testing.T, what string, k known, want, got metadata.Store) {
	t.Helper()
	a, err1 := everything(t.Context(), want, k)
	b, err2 := everything(t.Context(), got, k)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for name := range a {
		if diff := cmp.Diff(a[name], b[name], protocmp.Transform()); diff != "" {
			if wrong++; wrong < 4 {
				t.Errorf("%s: %s (-want +got):\n%s", what, name, diff)
			}
		}
	}
	if wrong > 0 || len(a) != len(b) {
		t.Fatalf("%s: %d of %d and %d answers differ", what, wrong, len(a), len(b))
	}
	t.Logf("%s: %d answers are the same", what, len(a))
}

func embedded(t *testing.T, name string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), name), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (r *ring) load(t *testing.T, from *sqlite.Store, opt cassandra.Options) error {
	t.Helper()
	return from.Dump(t.Context(), func(d metadata.Dump) error { return cassandra.Load(t.Context(), r.config, d, opt) })
}

// loading: a catalogue that was loaded is the one that the same calls make, before and after
// ordinary changes; and whatever breaks a load off, it is whole when it was repeated.
func loading(t *testing.T, r *ring) {
	lite := embedded(t, "metadata.db")
	first := newTwin(t, lite, "twin")
	first.begin()
	k := content(t, lite)
	t.Run("twins", func(t *testing.T) {
		r.empty(t)
		put := r.open(t, cassandra.Options{})
		newTwin(t, put, "twin").begin()
		sameAs(t, "put", k, lite, put)
	})
	t.Run("refused", func(t *testing.T) { refused(t, r, lite) })
	t.Run("broken_off", func(t *testing.T) { brokenOff(t, r, lite, k) })
	r.empty(t)
	if err := r.load(t, lite, cassandra.Options{}); err != nil {
		t.Fatal(err)
	}
	ring := r.open(t, cassandra.Options{})
	sameAs(t, "loaded", k, lite, ring)
	if n, err := ring.Pending(t.Context()); err != nil || n != 0 {
		t.Errorf("%d events of the load: %v", n, err)
	}
	if err := publish(t.Context(), lite, newLog(t)); err != nil { // what it said before is said
		t.Fatal(err)
	}
	second := newTwin(t, ring, "later")
	third := newTwin(t, lite, "later")
	second.now, third.now = first.now, first.now
	second.goOn()
	third.goOn()
	sameAs(t, "changed", content(t, lite), lite, ring)
	a, b := engine(t, lite, lite), engine(t, ring, ring)
	said, err1 := a.Events(t.Context())
	saidToo, err2 := b.Events(t.Context())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	subjects := bySubject(said)
	if diff := cmp.Diff(subjects, bySubject(saidToo)); diff != "" || len(subjects) == 0 {
		t.Errorf("revisions told of %d subjects after the load (-want +got):\n%s", len(subjects), diff)
	}
}

// bySubject are the revisions that events tell, in their order.
func bySubject(list []*eventv1.Envelope) map[string][]uint64 {
	out := map[string][]uint64{}
	for _, e := range list {
		out[e.GetSubject()] = append(out[e.GetSubject()], e.GetRevision())
	}
	return out
}

// refused: nothing is loaded over what is there, or beside somebody who is.
func refused(t *testing.T, r *ring, lite *sqlite.Store) {
	r.empty(t)
	other, err := cassandra.Open(t.Context(), r.config, cassandra.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.load(t, lite, cassandra.Options{}); !errors.Is(err, cassandra.ErrInUse) {
		t.Errorf("beside an open store: %v", err)
	}
	if err := other.Change(t.Context(), addition("here", 1)); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; {
		err := r.load(t, lite, cassandra.Options{})
		if errors.Is(err, cassandra.ErrNotEmpty) {
			break
		}
		if !errors.Is(err, cassandra.ErrInUse) || time.Now().After(deadline) {
			t.Fatalf("over a catalogue: %v", err)
		}
	}
	if err := whole(t.Context(), r.open(t, cassandra.Options{}), "here", 1); err != nil {
		t.Errorf("after loads were refused: %v", err)
	}
}

// brokenOff: a load dies before and after some of its writes, and is repeated.
func brokenOff(t *testing.T, r *ring, lite *sqlite.Store, k known) {
	r.empty(t)
	different := embedded(t, "other.db")
	newTwin(t, different, "different").put(1, "owner", "A", "A", "B", 1, false)
	deaths := 0
	for step := 1; ; step += 1 + step {
		kill := &killed{n: step, after: deaths%2 == 1}
		err := r.load(t, lite, cassandra.Options{Interrupt: kill.interrupt})
		if err == nil {
			break
		}
		if !errors.Is(err, cassandradb.ErrClosed) {
			t.Fatalf("step %d: %v", step, err)
		}
		if deaths++; step < 20 {
			continue // nothing was written so far
		}
		if s, err := cassandra.Open(t.Context(), r.config, cassandra.Options{}); !errors.Is(err, cassandra.ErrLoading) {
			t.Fatalf("step %d: opened a half: %v, %v", step, s, err)
		}
		if err := r.load(t, different, cassandra.Options{}); !errors.Is(err, cassandra.ErrOther) {
			t.Fatalf("step %d: another over a half: %v", step, err)
		}
	}
	if deaths < 6 {
		t.Errorf("it died %d times", deaths)
	}
	if err := r.load(t, lite, cassandra.Options{}); err != nil {
		t.Errorf("a load that is done already: %v", err)
	}
	if err := r.load(t, different, cassandra.Options{}); !errors.Is(err, cassandra.ErrNotEmpty) {
		t.Errorf("another over a whole: %v", err)
	}
	sameAs(t, fmt.Sprint("after ", deaths, " deaths"), k, lite, r.open(t, cassandra.Options{}))
}
