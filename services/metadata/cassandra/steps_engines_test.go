//go:build engines

package cassandra_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/services/metadata/cassandra"
	"github.com/segue-music/segue/stream/id"
)

// pair is two processes with clocks two hours apart, which take turns: what one did the
// other must see.
type pair struct {
	both [2]*cassandra.Store
	n    atomic.Int64
}

func (r *ring) pair(t *testing.T) *pair {
	t.Helper()
	p := &pair{}
	for i := range p.both {
		skew := time.Duration(1-2*i) * time.Hour // the first is ahead
		p.both[i] = r.open(t, cassandra.Options{Now: func() time.Time { return time.Now().Add(skew) }})
	}
	return p
}

func (p *pair) next() metadata.Store { return p.both[p.n.Add(1)%2] }

func (p *pair) Change(ctx context.Context, plan metadata.Plan) error {
	return p.next().Change(ctx, plan)
}

func (p *pair) Tracks(ctx context.Context, ids []string) ([]*metadatav1.TrackRecord, error) {
	return p.next().Tracks(ctx, ids)
}

func (p *pair) Album(ctx context.Context, id string) (*metadatav1.AlbumRecord, error) {
	return p.next().Album(ctx, id)
}

func (p *pair) AlbumTracks(ctx context.Context, id string) ([]*metadatav1.TrackRecord, error) {
	return p.next().AlbumTracks(ctx, id)
}

func (p *pair) Artist(ctx context.Context, id string) (*metadatav1.ArtistRecord, error) {
	return p.next().Artist(ctx, id)
}

func (p *pair) ArtistAlbums(ctx context.Context, id string, v metadata.Viewer, limit int) (own, others []*metadatav1.AlbumRecord, err error) {
	return p.next().ArtistAlbums(ctx, id, v, limit)
}

func (p *pair) CountArtistAlbums(ctx context.Context, ids []string, v metadata.Viewer) (map[string]uint32, error) {
	return p.next().CountArtistAlbums(ctx, ids, v)
}

func (p *pair) Classes(ctx context.Context) ([]*metadatav1.VisibilityClass, error) {
	return p.next().Classes(ctx)
}

func (p *pair) ListTracks(ctx context.Context, q metadata.TrackQuery) (metadata.Page[*metadatav1.TrackRecord], error) {
	return p.next().ListTracks(ctx, q)
}

func (p *pair) ListAlbums(ctx context.Context, q metadata.AlbumQuery) (metadata.Page[*metadatav1.AlbumRecord], error) {
	return p.next().ListAlbums(ctx, q)
}

func (p *pair) ListArtists(ctx context.Context, q metadata.ArtistQuery) (metadata.Page[*metadatav1.ArtistRecord], error) {
	return p.next().ListArtists(ctx, q)
}

func (p *pair) Marks(ctx context.Context, now time.Time, limit int) ([]metadata.Mark, error) {
	return p.next().Marks(ctx, now, limit)
}

func (p *pair) NextMark(ctx context.Context) (time.Time, error) { return p.next().NextMark(ctx) }

// killed stops a process before its nth statement begins, or after n are done: some run
// side by side.
type killed struct {
	n     int
	after bool

	mu          sync.Mutex
	begun, done int
	dead        bool
}

func (k *killed) interrupt(_ string, done bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if done {
		k.done++
	} else {
		k.begun++
	}
	if k.dead = k.dead || k.n > 0 && (!k.after && k.begun >= k.n || k.after && k.done >= k.n); k.dead {
		return cassandradb.ErrClosed
	}
	return nil
}

func key(parts ...any) string { return id.Derive(fmt.Sprint(parts...)).String() }

// addition is a plan that adds a track to an album and an artist that have others, as the
// service's do: given what is there it adds what is missing, each thing once.
func addition(of string, n int) metadata.Plan {
	owner, track, album, artist := key(of, "owner"), key(of, "track", n), key(of, "album"), key(of, "artist")
	shares := func(tracks uint32) []*metadatav1.Share {
		return []*metadatav1.Share{{ClassId: 1, OwnerId: owner, Tracks: tracks}}
	}
	said := func(subject string, revision uint64) []*eventv1.Envelope {
		e, err := event.New(key(subject, revision), time.Unix(1, 0), subject, revision, &eventv1.TrackRemoved{})
		if err != nil {
			panic(err) // the arguments are constant
		}
		return []*eventv1.Envelope{e}
	}
	return func(ctx context.Context, v metadata.View) (*metadata.Change, error) {
		t, err1 := v.Track(ctx, track)
		am, err2 := v.AlbumMember(ctx, album, track)
		rm, err3 := v.ArtistMember(ctx, artist, track)
		al, err4 := v.Album(ctx, album)
		ar, err5 := v.Artist(ctx, artist)
		has, err6 := v.Keys(ctx, []string{track})
		if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil || t != nil {
			return nil, err
		}
		c := &metadata.Change{Marks: []metadata.Mark{{Kind: metadata.KindAlbum, ID: album, Due: time.UnixMilli(int64(n))}}}
		if has[track] == "" {
			c.Claims = []metadata.Claim{{Key: track, ID: track}}
		}
		if rm == nil {
			after := &metadatav1.ArtistRecord{Artist: &metadatav1.Artist{Id: artist}}
			if ar != nil {
				after = proto.CloneOf(ar)
			}
			after.Artist.Revision++
			after.Artist.TrackCount++
			after.Shares, after.SortName = shares(after.GetArtist().GetTrackCount()), fmt.Sprint("artist of ", of)
			c.Artists = []metadata.ArtistChange{{
				Before: ar, After: after, Put: []*metadatav1.ArtistMember{{TrackId: track, AlbumId: album, ClassId: 1, OwnerId: owner}},
				Link: []string{album}, Events: said("artist:"+artist, after.GetArtist().GetRevision()),
			}}
		}
		if am == nil {
			after := &metadatav1.AlbumRecord{Album: &metadatav1.Album{Id: album, AddedUnixMs: 5}, OwnerId: owner}
			if al != nil {
				after = proto.CloneOf(al)
			}
			after.Album.Revision++
			after.Album.TrackCount++
			after.Album.Date = fmt.Sprint(2000 + n%20) // it moves in a list each time
			after.Shares = shares(after.GetAlbum().GetTrackCount())
			c.Albums = []metadata.AlbumChange{{
				Before: al, After: after, Put: []*metadatav1.AlbumMember{{TrackId: track, Disc: 1, Number: uint32(n)}},
				Events: said("album:"+album, after.GetAlbum().GetRevision()),
			}}
		}
		c.Tracks = []metadata.TrackChange{{
			After: &metadatav1.TrackRecord{
				Track: &metadatav1.Track{Id: track, Title: fmt.Sprintf("%05d", n), OwnerId: owner, AddedUnixMs: int64(n), Revision: 1},
				Class: &metadatav1.VisibilityClass{Id: 1},
			}, Events: said("track:"+track, 1),
		}}
		return c, nil
	}
}

// whole says whether an album and its artist are what n additions make of them, in all that
// can be read of them.
func whole(ctx context.Context, s metadata.Store, of string, n int) error {
	all := metadata.Viewer{UserID: key(of, "owner"), Classes: []int64{1}}
	al, err1 := s.Album(ctx, key(of, "album"))
	ar, err2 := s.Artist(ctx, key(of, "artist"))
	tracks, err3 := s.AlbumTracks(ctx, key(of, "album"))
	own, _, err4 := s.ArtistAlbums(ctx, key(of, "artist"), all, 10)
	page, err5 := s.ListTracks(ctx, metadata.TrackQuery{Viewer: all, OwnerID: all.UserID, Order: metadata.OrderTitle, Limit: 1000})
	albums, err6 := s.ListAlbums(ctx, metadata.AlbumQuery{Viewer: metadata.Viewer{UserID: all.UserID}, Order: metadata.OrderDate, Limit: 10})
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	var titles []string
	for _, t := range tracks {
		titles = append(titles, t.GetTrack().GetTitle())
	}
	members := 0
	err := s.Change(ctx, func(ctx context.Context, v metadata.View) (*metadata.Change, error) {
		for after := ""; ; {
			ids, err := v.ArtistMemberIDs(ctx, key(of, "artist"), after, 64)
			if err != nil || len(ids) == 0 {
				return nil, err
			}
			members, after = members+len(ids), ids[len(ids)-1]
		}
	})
	got := []int{int(al.GetAlbum().GetTrackCount()), int(ar.GetArtist().GetTrackCount()), len(tracks), len(own) * n, members, len(page.Items), len(albums.Items) * n}
	for _, have := range got {
		if have != n {
			return errors.Join(err, fmt.Errorf("tracks of album and artist, read, its albums, members, listed, albums listed: %v, want %d", got, n))
		}
	}
	if !slices.IsSorted(titles) {
		return errors.New("tracks are not in the order of their numbers")
	}
	return err
}

// steps: a process dies at each step of a change, and another makes the same call: then all
// is there, once.
func steps(t *testing.T, r *ring) {
	r.empty(t)
	survivor, ctx := r.open(t, cassandra.Options{}), t.Context()
	if err := survivor.Change(ctx, addition("x", 1)); err != nil {
		t.Fatal(err)
	}
	// The first step is far behind what opening took.
	deaths, n := 0, 1
	for step, finished := 1, false; !finished; step++ {
		for _, after := range []bool{false, true} {
			n++
			k := &killed{after: after}
			victim := r.open(t, cassandra.Options{Interrupt: k.interrupt})
			k.mu.Lock()
			k.n, k.begun, k.done = step, 0, 0
			k.mu.Unlock()
			err := victim.Change(ctx, addition("x", n))
			k.mu.Lock()
			finished = !k.dead
			k.mu.Unlock()
			if finished && err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			if err != nil {
				deaths++
			}
			if err := survivor.Change(ctx, addition("x", n)); err != nil {
				t.Fatalf("step %d, after %t: again: %v", step, after, err)
			}
			if err := whole(ctx, survivor, "x", n); err != nil {
				t.Fatalf("step %d, after %t: %v", step, after, err)
			}
		}
	}
	t.Logf("%d deaths in %d additions", deaths, n)
	if deaths < 20 {
		t.Error("it hardly ever died")
	}
	// What the dead left in the lists is in no total once somebody has read the lists.
	page, err := survivor.ListAlbums(ctx, metadata.AlbumQuery{Viewer: metadata.Viewer{All: true}, Order: metadata.OrderDate, Limit: 10})
	if err != nil || page.Total != 1 || len(page.Items) != 1 {
		t.Errorf("%d albums of %d: %v", len(page.Items), page.Total, err)
	}
	s := engine(t, survivor, survivor)
	events, err := s.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]uint64{}
	for _, e := range events {
		if next[e.GetSubject()]++; e.GetRevision() != next[e.GetSubject()] {
			t.Fatalf("%s: revision %d, want %d", e.GetSubject(), e.GetRevision(), next[e.GetSubject()])
		}
	}
	if len(events) != 3*n {
		t.Errorf("%d events, want %d", len(events), 3*n)
	}
}

// large: an album and an artist whose parts do not fit their partitions, of several writers.
func large(t *testing.T, r *ring) {
	r.empty(t)
	p, ctx := r.pair(t), t.Context()
	const tracks, writers = 100, 3
	errs := make(chan error)
	for w := range writers {
		go func() {
			var all error
			for n := 1 + w; n <= tracks; n += writers {
				all = errors.Join(all, p.Change(ctx, addition("big", n)))
			}
			errs <- all
		}()
	}
	var all error
	for range writers {
		all = errors.Join(all, <-errs)
	}
	if err := errors.Join(all, whole(ctx, p, "big", tracks)); err != nil {
		t.Fatal(err)
	}
	var here, moved int
	if err := r.session.Query("SELECT count(*) FROM entity WHERE key = ? AND kind = 'member'", "album/"+key("big", "album")).Scan(&here); err != nil {
		t.Fatal(err)
	}
	if err := r.session.Query("SELECT count(*) FROM entity_part").Scan(&moved); err != nil {
		t.Fatal(err)
	}
	if here >= tracks || moved == 0 {
		t.Errorf("%d members in the album's own partition, %d parts outside", here, moved)
	}
}
