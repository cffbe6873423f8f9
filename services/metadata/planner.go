package metadata

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"

	"github.com/segue-music/segue/event"
)

// planner collects what one plan reads and wants changed. Entities are read once and
// kept, so that a change sees its own earlier steps.
type planner struct {
	view  View
	now   time.Time
	newID func() string
	delay time.Duration

	claims  []Claim
	claimed map[string]string
	done    []Mark
	tracks  entries[*trackEntry]
	albums  entries[*albumEntry]
	artists entries[*artistEntry]
}

// entries keeps the order of first use, which is the order in which they are stored.
type entries[T any] struct {
	byID map[string]T
	list []T
}

func (e *entries[T]) add(id string, v T) T {
	if e.byID == nil {
		e.byID = map[string]T{}
	}
	e.byID[id] = v
	e.list = append(e.list, v)
	return v
}

type trackEntry struct {
	before, after *metadatav1.TrackRecord
	published     []*metadatav1.Rendition
}

type albumEntry struct {
	before, after *metadatav1.AlbumRecord
	put           []*metadatav1.AlbumMember
	drop          []string
}

type artistEntry struct {
	before, after *metadatav1.ArtistRecord
	put           []*metadatav1.ArtistMember
	drop          []string
	link, unlink  []string
}

// plan runs steps on a planner and stores the outcome.
func (s *Service) plan(ctx context.Context, steps func(context.Context, *planner) error) error {
	marked := false
	err := s.store.Change(ctx, func(ctx context.Context, view View) (*Change, error) {
		p := &planner{view: view, now: s.now(), newID: s.newID, delay: s.cfg.SpreadDelay, claimed: map[string]string{}}
		if err := steps(ctx, p); err != nil {
			return nil, err
		}
		c, err := p.change()
		marked = c != nil && len(c.Marks) > 0
		return c, err
	})
	if err == nil && marked {
		s.poke()
	}
	return err
}

func (p *planner) keys(ctx context.Context, keys []string) (map[string]string, error) {
	found, err := p.view.Keys(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	for _, k := range keys {
		if id := p.claimed[k]; id != "" {
			found[k] = id
		}
	}
	return found, nil
}

func (p *planner) claim(k, id string) {
	p.claims = append(p.claims, Claim{Key: k, ID: id})
	p.claimed[k] = id
}

// track is a track of the catalogue; nil when there is none.
func (p *planner) track(ctx context.Context, id string) (*trackEntry, error) {
	if t := p.tracks.byID[id]; t != nil {
		return t, nil
	}
	before, err := p.view.Track(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read track: %w", err)
	}
	if before == nil {
		return nil, nil
	}
	return p.tracks.add(id, &trackEntry{before: before, after: proto.CloneOf(before)}), nil
}

// album is an album, a new one where there is none.
func (p *planner) album(ctx context.Context, id string) (*albumEntry, error) {
	if a := p.albums.byID[id]; a != nil {
		return a, nil
	}
	before, err := p.view.Album(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read album: %w", err)
	}
	a := &albumEntry{before: before}
	if before == nil {
		a.after = &metadatav1.AlbumRecord{Album: &metadatav1.Album{Id: id, AddedUnixMs: p.now.UnixMilli()}}
	} else {
		a.after = proto.CloneOf(before)
	}
	return p.albums.add(id, a), nil
}

// artist is an artist, a new one where there is none.
func (p *planner) artist(ctx context.Context, id string) (*artistEntry, error) {
	if a := p.artists.byID[id]; a != nil {
		return a, nil
	}
	before, err := p.view.Artist(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read artist: %w", err)
	}
	a := &artistEntry{before: before}
	if before == nil {
		a.after = &metadatav1.ArtistRecord{Artist: &metadatav1.Artist{Id: id}}
	} else {
		a.after = proto.CloneOf(before)
	}
	return p.artists.add(id, a), nil
}

// change is what differs, with an event for each entity that does.
func (p *planner) change() (*Change, error) {
	c := &Change{Claims: p.claims, Done: p.done}
	for _, a := range p.artists.list {
		if a.same() {
			continue
		}
		art := a.after.GetArtist()
		art.Revision = a.before.GetArtist().GetRevision() + 1
		if a.before != nil && a.before.GetArtist().GetName() != art.GetName() {
			c.Marks = append(c.Marks, p.mark(KindArtist, art.GetId()))
		}
		e, err := p.event("artist:"+art.GetId(), art.GetRevision(), &eventv1.ArtistChanged{Artist: art})
		if err != nil {
			return nil, err
		}
		c.Artists = append(c.Artists, ArtistChange{
			Before: a.before, After: a.after, Put: a.put, Drop: a.drop, Link: a.link, Unlink: a.unlink,
			Events: []*eventv1.Envelope{e},
		})
	}
	for _, a := range p.albums.list {
		if a.same() {
			continue
		}
		album := a.after.GetAlbum()
		album.Revision = a.before.GetAlbum().GetRevision() + 1
		if a.tracksLag() {
			c.Marks = append(c.Marks, p.mark(KindAlbum, album.GetId()))
		}
		e, err := p.event("album:"+album.GetId(), album.GetRevision(), &eventv1.AlbumChanged{Album: album})
		if err != nil {
			return nil, err
		}
		c.Albums = append(c.Albums, AlbumChange{
			Before: a.before, After: a.after, Put: a.put, Drop: a.drop, Events: []*eventv1.Envelope{e},
		})
	}
	for _, t := range p.tracks.list {
		if proto.Equal(t.before, t.after) {
			continue
		}
		tc, err := p.trackChange(t)
		if err != nil {
			return nil, err
		}
		c.Tracks = append(c.Tracks, tc)
	}
	return c, nil
}

func (p *planner) trackChange(t *trackEntry) (TrackChange, error) {
	track := t.after.GetTrack()
	track.Revision = t.before.GetTrack().GetRevision() + 1
	subject := "track:" + track.GetId()
	e, err := p.event(subject, track.GetRevision(), &eventv1.TrackChanged{Track: track})
	if err != nil {
		return TrackChange{}, err
	}
	tc := TrackChange{Before: t.before, After: t.after, Events: []*eventv1.Envelope{e}}
	for _, r := range t.published {
		e, err := p.event(subject, track.GetRevision(), &eventv1.RenditionPublished{TrackId: track.GetId(), Rendition: r})
		if err != nil {
			return TrackChange{}, err
		}
		tc.Events = append(tc.Events, e)
	}
	return tc, nil
}

func (p *planner) event(subject string, revision uint64, payload proto.Message) (*eventv1.Envelope, error) {
	e, err := event.New(p.newID(), p.now, subject, revision, payload)
	if err != nil {
		return nil, fmt.Errorf("make event: %w", err)
	}
	return e, nil
}

func (p *planner) mark(k Kind, id string) Mark {
	return Mark{Kind: k, ID: id, Due: p.now.Add(p.delay).Truncate(time.Millisecond)}
}

func (a *albumEntry) same() bool {
	return len(a.put)+len(a.drop) == 0 && proto.Equal(a.before, a.after)
}

func (a *artistEntry) same() bool {
	return len(a.put)+len(a.drop)+len(a.link)+len(a.unlink) == 0 && proto.Equal(a.before, a.after)
}

// tracksLag tells that other tracks of the album repeat what has changed.
func (a *albumEntry) tracksLag() bool {
	was, is := a.before.GetAlbum(), a.after.GetAlbum()
	return a.before != nil && is.GetTrackCount() > 0 &&
		(was.GetTitle() != is.GetTitle() || !proto.Equal(was.GetArtwork(), is.GetArtwork()) || a.before.GetGainQ8() != a.after.GetGainQ8())
}

// TrackSortKey is by what a track stands in the order of titles.
func TrackSortKey(t *metadatav1.Track) string { return sortKey(t.GetTitle()) }
