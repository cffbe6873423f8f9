package cassandra

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/cassandrabox"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/pause"
	"github.com/segue-music/segue/services/metadata"
)

// collision says which entity, in which version, was not as a plan had found it.
type collision struct {
	key     string
	version int64
	other   string // who has a key
}

func (c *collision) Error() string { return c.key + " has changed" }

const (
	againFirst = 2 * time.Millisecond
	againMost  = 200 * time.Millisecond
	againFor   = 20 * time.Second
)

// Change implements [metadata.Store]. A plan that meets the same obstacle twice, with
// nobody in between, would meet it for ever.
func (s *Store) Change(ctx context.Context, plan metadata.Plan) error {
	var last collision
	wait := againFirst
	for began := time.Now(); ; wait = min(2*wait, againMost) {
		v := &view{store: s, heads: map[string]*head{}}
		c, err := plan(ctx, v)
		if err != nil || c == nil {
			return err
		}
		err = s.apply(ctx, v, c)
		var met *collision
		if !errors.As(err, &met) {
			return err
		}
		if *met == last || time.Since(began) > againFor {
			return metadata.ErrConflict.Because(err)
		}
		last = *met
		if !pause.About(ctx, wait) {
			return ctx.Err()
		}
	}
}

func (s *Store) apply(ctx context.Context, v *view, c *metadata.Change) error {
	err := eachAtOnce(ctx, len(c.Claims), func(ctx context.Context, i int) error { return s.claim(ctx, c.Claims[i]) })
	if err != nil {
		return fmt.Errorf("claim key: %w", err)
	}
	err = eachAtOnce(ctx, len(c.Marks), func(ctx context.Context, i int) error { return s.mark(ctx, c.Marks[i]) })
	if err != nil {
		return fmt.Errorf("set mark: %w", err)
	}
	// Those of one kind stand in no order to each other.
	err = eachAtOnce(ctx, len(c.Artists), func(ctx context.Context, i int) error { return s.applyArtist(ctx, v, &c.Artists[i]) })
	if err != nil {
		return fmt.Errorf("store artist: %w", err)
	}
	err = eachAtOnce(ctx, len(c.Albums), func(ctx context.Context, i int) error { return s.applyAlbum(ctx, v, &c.Albums[i]) })
	if err != nil {
		return fmt.Errorf("store album: %w", err)
	}
	err = eachAtOnce(ctx, len(c.Tracks), func(ctx context.Context, i int) error { return s.applyTrack(ctx, v, &c.Tracks[i]) })
	if err != nil {
		return fmt.Errorf("store track: %w", err)
	}
	for _, m := range c.Done {
		if err := s.unmark(ctx, m); err != nil {
			return fmt.Errorf("remove mark: %w", err)
		}
	}
	return nil
}

// claim needs no token: that the key has this id is all that is wanted, whoever wrote it.
func (s *Store) claim(ctx context.Context, c metadata.Claim) error {
	var has string
	verdict := func(ctx context.Context) (cassandradb.Verdict, error) {
		found, err := s.db.GetSerial(ctx, `SELECT id FROM claim WHERE key = ?`, []any{c.Key}, &has)
		switch {
		case err != nil || !found:
			return cassandradb.Undecided, err
		case has == c.ID:
			return cassandradb.Applied, nil
		}
		return cassandradb.Refused, nil
	}
	list := []cassandradb.Statement{{CQL: `INSERT INTO claim (key, id) VALUES (?, ?) IF NOT EXISTS`, Args: []any{c.Key, c.ID}}}
	got, err := s.db.Decide(ctx, list, verdict)
	if err != nil || got {
		return err
	}
	v, err := verdict(ctx)
	if err != nil || v == cassandradb.Applied {
		return err
	}
	return &collision{key: "claim/" + c.Key, other: has}
}

// entity is a new state of a track, an album or an artist.
type entity struct {
	key, id       string
	before, after int64 // revisions; before is 0 for a new one
	record        proto.Message
	was, is       listed
	day           string
	events        []*eventv1.Envelope
	// parts are what it adds to and drops from its parts, given that nobody changed it.
	parts func(context.Context) ([]part, error)
}

// applyEntity makes the change as one batch. Its rows in the lists are there before, and become
// valid with it.
func (s *Store) applyEntity(ctx context.Context, v *view, e *entity) error {
	data, err := proto.Marshal(e.record)
	if err != nil {
		return err
	}
	var old string
	err = s.box.Write(ctx, e.key, func(c *cassandrabox.Change) error {
		h, err := s.head(ctx, e.key)
		if err != nil {
			return err
		}
		seen := v.heads[e.key]
		if seen != nil && seen.version != c.Version || (h.data != nil) != (e.before != 0) || h.revision != e.before {
			return &collision{key: e.key, version: h.version} // which was read last
		}
		for _, env := range e.events {
			r, err := outbox.NewRow(ctx, event.OwnerMetadata, event.Catalogue, e.id, env)
			if err != nil {
				return fmt.Errorf("add to outbox: %w", err)
			}
			c.Add(r)
		}
		if e.parts != nil {
			parts, err := e.parts(ctx)
			if err != nil {
				return err
			}
			if err := s.putParts(ctx, c, &h, parts); err != nil {
				return err
			}
		}
		old = ""
		if !e.was.equal(e.is) {
			old, h.hint = h.hint, uuid.NewString()
			if err := s.enlist(ctx, e.is, hint{id: e.id, writer: h.hint, version: c.Version}); err != nil {
				return err
			}
		}
		c.Do(`UPDATE entity SET revision = ?, data = ?, shares = ?, day = ?, hint = ?, recent = ?, moved = ? WHERE key = ? AND kind = '' AND id = ''`,
			e.after, data, e.is.shares, e.day, h.hint, h.recent, h.moved, e.key)
		return nil
	})
	if err != nil {
		return err
	}
	if old != "" {
		s.strike(ctx, e.was, hint{id: e.id, writer: old})
	}
	return nil
}

func (s *Store) applyTrack(ctx context.Context, v *view, c *metadata.TrackChange) error {
	t, class := c.After.GetTrack(), c.After.GetClass()
	err := s.once(fmt.Sprint("class ", class.GetId()), func() error {
		data, err := proto.Marshal(class)
		if err != nil {
			return err
		}
		return s.db.Exec(ctx, `INSERT INTO class (name, id, data) VALUES ('class', ?, ?)`, class.GetId(), data)
	})
	if err != nil {
		return err
	}
	return s.applyEntity(ctx, v, &entity{
		key: trackKey(t.GetId()), id: t.GetId(), before: int64(c.Before.GetTrack().GetRevision()), after: int64(t.GetRevision()),
		record: c.After, was: listTrack(c.Before), is: listTrack(c.After), events: c.Events,
	})
}

// slotPlace is the length of what a slot's id says of its place.
const slotPlace = len("0000000000-0000000000-")

func slotID(disc, number uint32, trackID string) string {
	return fmt.Sprintf("%010d-%010d-%s", disc, number, trackID)
}

func (s *Store) applyAlbum(ctx context.Context, v *view, c *metadata.AlbumChange) error {
	a := c.After.GetAlbum()
	key := albumKey(a.GetId())
	// A member's old place goes with it.
	leave := func(ctx context.Context, trackID string) ([]part, error) {
		old, err := s.part(ctx, key, kindMember, trackID)
		if err != nil || old == nil {
			return nil, err
		}
		m := &metadatav1.AlbumMember{}
		if err := decode(old.data, m); err != nil {
			return nil, err
		}
		return []part{{kind: kindSlot, id: slotID(m.GetDisc(), m.GetNumber(), trackID), dropped: true}}, nil
	}
	parts := func(ctx context.Context) (list []part, err error) {
		for _, id := range c.Drop {
			slots, err := leave(ctx, id)
			if err != nil {
				return nil, err
			}
			list = append(append(list, slots...), part{kind: kindMember, id: id, dropped: true})
		}
		for _, m := range c.Put {
			slots, err := leave(ctx, m.GetTrackId())
			if err != nil {
				return nil, err
			}
			data, err := proto.Marshal(m)
			if err != nil {
				return nil, err
			}
			list = append(append(list, slots...), part{kind: kindMember, id: m.GetTrackId(), data: data},
				part{kind: kindSlot, id: slotID(m.GetDisc(), m.GetNumber(), m.GetTrackId())})
		}
		return list, nil
	}
	return s.applyEntity(ctx, v, &entity{
		key: key, id: a.GetId(), before: int64(c.Before.GetAlbum().GetRevision()), after: int64(a.GetRevision()),
		record: c.After, was: listAlbum(c.Before), is: listAlbum(c.After), day: a.GetDate(), events: c.Events, parts: parts,
	})
}

func (s *Store) applyArtist(ctx context.Context, v *view, c *metadata.ArtistChange) error {
	a := c.After.GetArtist()
	parts := func(context.Context) (list []part, err error) {
		for _, id := range c.Drop {
			list = append(list, part{kind: kindMember, id: id, dropped: true})
		}
		for _, m := range c.Put {
			data, err := proto.Marshal(m)
			if err != nil {
				return nil, err
			}
			list = append(list, part{kind: kindMember, id: m.GetTrackId(), data: data})
		}
		for _, id := range c.Unlink {
			list = append(list, part{kind: kindLink, id: id, dropped: true})
		}
		for _, id := range c.Link {
			list = append(list, part{kind: kindLink, id: id})
		}
		return list, nil
	}
	return s.applyEntity(ctx, v, &entity{
		key: artistKey(a.GetId()), id: a.GetId(), before: int64(c.Before.GetArtist().GetRevision()), after: int64(a.GetRevision()),
		record: c.After, was: listArtist(c.Before), is: listArtist(c.After), events: c.Events, parts: parts,
	})
}
