package storetest_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/services/metadata/sqlite"
	"github.com/segue-music/segue/services/metadata/storetest"
)

func open(t *testing.T) storetest.Engine {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	l, err := locallog.Open(t.TempDir(), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return storetest.Engine{Store: s, Events: func(ctx context.Context) (out []*eventv1.Envelope, err error) {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Relay(l, slog.New(slog.DiscardHandler)).Run(ctx) }()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := int64(1); n > 0; <-tick.C {
			if n, err = s.Pending(ctx); err != nil {
				return nil, err
			}
		}
		cancel()
		if err := <-done; err != nil {
			return nil, err
		}
		for r, err := range l.Read(context.WithoutCancel(ctx), event.Catalogue, 0, 0, false) {
			if err != nil {
				return nil, err
			}
			e, err := event.Unmarshal(r.Value)
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		return out, nil
	}}
}

// broken changes what a store is asked or what it answers.
type broken struct {
	metadata.Store
	change func(*metadata.Change) // of what is to be stored
	view   func(metadata.View) metadata.View
	swap   func(plan error) error // the error of Change
	viewer func(metadata.Viewer) metadata.Viewer
	tracks func([]*metadatav1.TrackRecord) []*metadatav1.TrackRecord
	albums func(*metadata.Page[*metadatav1.AlbumRecord])
	cursor func(*metadata.Cursor) *metadata.Cursor
	marks  func([]metadata.Mark) []metadata.Mark
}

func (b *broken) Change(ctx context.Context, plan metadata.Plan) error {
	err := b.Store.Change(ctx, func(ctx context.Context, v metadata.View) (*metadata.Change, error) {
		if b.view != nil {
			v = b.view(v)
		}
		c, err := plan(ctx, v)
		if err == nil && c != nil && b.change != nil {
			b.change(c)
		}
		return c, err
	})
	if b.swap != nil {
		err = b.swap(err)
	}
	return err
}

func (b *broken) look(v metadata.Viewer) metadata.Viewer {
	if b.viewer != nil {
		return b.viewer(v)
	}
	return v
}

func (b *broken) from(c *metadata.Cursor) *metadata.Cursor {
	if b.cursor != nil && c != nil {
		return b.cursor(c)
	}
	return c
}

func (b *broken) ListTracks(ctx context.Context, q metadata.TrackQuery) (metadata.Page[*metadatav1.TrackRecord], error) {
	q.Viewer, q.After = b.look(q.Viewer), b.from(q.After)
	p, err := b.Store.ListTracks(ctx, q)
	if b.tracks != nil {
		p.Items = b.tracks(p.Items)
	}
	return p, err
}

func (b *broken) ListAlbums(ctx context.Context, q metadata.AlbumQuery) (metadata.Page[*metadatav1.AlbumRecord], error) {
	q.Viewer, q.After = b.look(q.Viewer), b.from(q.After)
	p, err := b.Store.ListAlbums(ctx, q)
	if b.albums != nil {
		b.albums(&p)
	}
	return p, err
}

func (b *broken) ListArtists(ctx context.Context, q metadata.ArtistQuery) (metadata.Page[*metadatav1.ArtistRecord], error) {
	q.Viewer, q.After = b.look(q.Viewer), b.from(q.After)
	return b.Store.ListArtists(ctx, q)
}

func (b *broken) ArtistAlbums(ctx context.Context, id string, v metadata.Viewer, limit int) (own, others []*metadatav1.AlbumRecord, err error) {
	return b.Store.ArtistAlbums(ctx, id, b.look(v), limit)
}

func (b *broken) AlbumTracks(ctx context.Context, id string) ([]*metadatav1.TrackRecord, error) {
	list, err := b.Store.AlbumTracks(ctx, id)
	if b.tracks != nil {
		list = b.tracks(list)
	}
	return list, err
}

func (b *broken) Marks(ctx context.Context, now time.Time, limit int) ([]metadata.Mark, error) {
	list, err := b.Store.Marks(ctx, now, limit)
	if b.marks != nil {
		list = b.marks(list)
	}
	return list, err
}

// emptyView finds nothing that was stored.
type emptyView struct{ metadata.View }

func (emptyView) Album(context.Context, string) (*metadatav1.AlbumRecord, error) { return nil, nil }

func noEvents(c *metadata.Change) {
	for i := range c.Tracks {
		c.Tracks[i].Events = nil
	}
	for i := range c.Albums {
		c.Albums[i].Events = nil
	}
}

func reverse[T any](list []T) []T {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// TestChecks_BrokenStores: a suite that cannot fail is worth nothing. Each fault is found
// by the checks named, at least, and each check finds a fault.
func TestChecks_BrokenStores(t *testing.T) {
	type engine = storetest.Engine
	store := func(b broken) func(engine) engine {
		return func(e engine) engine {
			b := b
			b.Store = e.Store
			e.Store = &b
			return e
		}
	}
	events := func(change func([]*eventv1.Envelope) []*eventv1.Envelope) func(engine) engine {
		return func(e engine) engine {
			read := e.Events
			e.Events = func(ctx context.Context) ([]*eventv1.Envelope, error) {
				list, err := read(ctx)
				return change(list), err
			}
			return e
		}
	}
	tests := []struct {
		name   string
		damage func(engine) engine
		found  []string
	}{
		{"drops_every_change", store(broken{change: func(c *metadata.Change) { *c = metadata.Change{} }}), []string{"Claims", "Revisions", "Read", "Classes"}},
		{"drops_claims", store(broken{change: func(c *metadata.Change) { c.Claims = nil }}), []string{"Claims"}},
		{"drops_tracks", store(broken{change: func(c *metadata.Change) { c.Tracks = nil }}), []string{"List_tracks", "Classes", "Events"}},
		{"drops_marks", store(broken{change: func(c *metadata.Change) { c.Marks = nil }}), []string{"Marks"}},
		{"keeps_marks", store(broken{change: func(c *metadata.Change) { c.Done = nil }}), []string{"Marks"}},
		{"drops_events", store(broken{change: noEvents}), []string{"Events", "Concurrent"}},
		{"tears_members_from_the_album", store(broken{change: func(c *metadata.Change) {
			for i := range c.Albums {
				c.Albums[i].Put, c.Albums[i].Drop = nil, nil
			}
		}}), []string{"Members", "Read"}},
		{"tears_members_from_the_artist", store(broken{change: func(c *metadata.Change) {
			for i := range c.Artists {
				c.Artists[i].Put = nil
			}
		}}), []string{"Members", "Artist_albums"}},
		{"tears_links_from_the_artist", store(broken{change: func(c *metadata.Change) {
			for i := range c.Artists {
				c.Artists[i].Link = nil
			}
		}}), []string{"Members", "Artist_albums"}},
		{"hides_conflicts", store(broken{swap: func(err error) error {
			if errors.Is(err, metadata.ErrConflict) {
				return nil
			}
			return err
		}}), []string{"Revisions", "Claims", "Failed_plan"}},
		{"hides_failed_plans", store(broken{swap: func(error) error { return nil }}), []string{"Failed_plan"}},
		{"reads_an_old_state", store(broken{view: func(v metadata.View) metadata.View { return emptyView{v} }}), []string{"Concurrent"}},
		{"doubles_events", events(func(l []*eventv1.Envelope) []*eventv1.Envelope { return append(l, l...) }), []string{"Events", "Concurrent"}},
		{"reorders_events", events(reverse[*eventv1.Envelope]), []string{"Events", "Concurrent"}},
		{"invents_an_event", events(func(l []*eventv1.Envelope) []*eventv1.Envelope { return append(l, &eventv1.Envelope{}) }), []string{"Failed_plan"}},
		{"reorders_tracks", store(broken{tracks: reverse[*metadatav1.TrackRecord]}), []string{"List_tracks", "Read"}},
		{"reorders_albums", store(broken{albums: func(p *metadata.Page[*metadatav1.AlbumRecord]) { p.Items = reverse(p.Items) }}), []string{"List_albums"}},
		{"miscounts_albums", store(broken{albums: func(p *metadata.Page[*metadatav1.AlbumRecord]) { p.Total++ }}), []string{"List_albums"}},
		{"forgets_the_next_page", store(broken{albums: func(p *metadata.Page[*metadatav1.AlbumRecord]) { p.Next = nil }}), []string{"List_albums"}},
		{"begins_each_page_anew", store(broken{cursor: func(*metadata.Cursor) *metadata.Cursor { return nil }}), []string{"List_tracks", "List_albums", "List_artists"}},
		{"orders_by_key_alone", store(broken{cursor: func(c *metadata.Cursor) *metadata.Cursor {
			return &metadata.Cursor{Key: c.Key, ID: "zzzzzzzzzzzzzzzzzzzzzz"}
		}}), []string{"List_tracks", "List_albums"}},
		{"shows_everything", store(broken{viewer: func(metadata.Viewer) metadata.Viewer { return metadata.Viewer{All: true} }}),
			[]string{"List_tracks", "List_albums", "List_artists", "Artist_albums", "Classes"}},
		{"hides_what_is_ones_own", store(broken{viewer: func(v metadata.Viewer) metadata.Viewer { v.UserID = ""; return v }}),
			[]string{"List_tracks", "List_albums", "List_artists", "Artist_albums"}},
		{"reorders_marks", store(broken{marks: reverse[metadata.Mark]}), []string{"Marks"}},
	}
	caught := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range storetest.Checks() {
				if !slices.Contains(tt.found, c.Name) {
					continue
				}
				caught[c.Name] = true
				if err := c.Run(t.Context(), tt.damage(open(t))); err == nil {
					t.Errorf("%s did not notice", c.Name)
				}
			}
		})
	}
	for _, c := range storetest.Checks() {
		if !caught[c.Name] {
			t.Errorf("no broken store shows that %s can fail", c.Name)
		}
	}
}
