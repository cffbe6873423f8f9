package cassandra

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/services/metadata"
)

func newTrack() *metadatav1.TrackRecord   { return &metadatav1.TrackRecord{} }
func newAlbum() *metadatav1.AlbumRecord   { return &metadatav1.AlbumRecord{} }
func newArtist() *metadatav1.ArtistRecord { return &metadatav1.ArtistRecord{} }

// record reads only the record of an entity; nil when there is none.
func (s *Store) record(ctx context.Context, key string) (data []byte, err error) {
	_, err = s.db.Get(ctx, `SELECT data FROM entity WHERE key = ? AND kind = '' AND id = ''`, []any{key}, &data)
	return data, err
}

// Tracks implements [metadata.Store].
func (s *Store) Tracks(ctx context.Context, ids []string) ([]*metadatav1.TrackRecord, error) {
	out, err := s.tracks(ctx, ids)
	if err != nil {
		return nil, failed("tracks", err)
	}
	return out, nil
}

func (s *Store) tracks(ctx context.Context, ids []string) ([]*metadatav1.TrackRecord, error) {
	found, asked := make([]*metadatav1.TrackRecord, len(ids)), map[string]bool{}
	var first []int
	for i, id := range ids {
		if !asked[id] { // an id that is asked twice is answered once: a record has one owner
			asked[id], first = true, append(first, i)
		}
	}
	err := eachAtOnce(ctx, len(first), func(ctx context.Context, n int) error {
		data, err := s.record(ctx, trackKey(ids[first[n]]))
		if err != nil || data == nil {
			return err
		}
		r := newTrack()
		found[first[n]] = r
		return decode(data, r)
	})
	return slices.DeleteFunc(found, func(r *metadatav1.TrackRecord) bool { return r == nil }), err
}

// Album implements [metadata.Store].
func (s *Store) Album(ctx context.Context, id string) (*metadatav1.AlbumRecord, error) {
	data, err := s.record(ctx, albumKey(id))
	if err == nil && data == nil {
		err = metadata.ErrNotFound
	}
	if err != nil {
		return nil, failed("album", err)
	}
	r := newAlbum()
	return r, decode(data, r)
}

// Artist implements [metadata.Store].
func (s *Store) Artist(ctx context.Context, id string) (*metadatav1.ArtistRecord, error) {
	data, err := s.record(ctx, artistKey(id))
	if err == nil && data == nil {
		err = metadata.ErrNotFound
	}
	if err != nil {
		return nil, failed("artist", err)
	}
	r := newArtist()
	return r, decode(data, r)
}

// noLimit of parts.
const noLimit = 1 << 30

// AlbumTracks implements [metadata.Store]. The slots are in the order asked.
func (s *Store) AlbumTracks(ctx context.Context, albumID string) ([]*metadatav1.TrackRecord, error) {
	members, err := s.parts(ctx, albumKey(albumID), kindMember, "", "", noLimit)
	if err != nil {
		return nil, failed("tracks of album", err)
	}
	type placed struct {
		slot, id string
	}
	var order []placed
	for _, p := range members {
		m := &metadatav1.AlbumMember{}
		if err := decode(p.data, m); err != nil {
			return nil, failed("tracks of album", err)
		}
		order = append(order, placed{slotID(m.GetDisc(), m.GetNumber(), p.id), p.id})
	}
	slices.SortFunc(order, func(a, b placed) int { return strings.Compare(a.slot, b.slot) })
	ids := make([]string, len(order))
	for i, o := range order {
		ids[i] = o.id
	}
	out, err := s.tracks(ctx, ids)
	if err != nil {
		return nil, failed("tracks of album", err)
	}
	return out, nil
}

// summary is what decides who sees an album and where it stands.
type summary struct{ id, day, shares string }

// summaries of those albums that the viewer sees, newest first.
func (s *Store) summaries(ctx context.Context, ids []string, look eye) ([]summary, error) {
	all := make([]summary, len(ids))
	err := eachAtOnce(ctx, len(ids), func(ctx context.Context, i int) error {
		all[i].id = ids[i]
		_, err := s.db.Get(ctx, `SELECT day, shares FROM entity WHERE key = ? AND kind = '' AND id = ''`, []any{albumKey(ids[i])}, &all[i].day, &all[i].shares)
		return err
	})
	all = slices.DeleteFunc(all, func(a summary) bool { return a.shares == "" || !look.sees(a.shares) })
	slices.SortFunc(all, func(a, b summary) int { return -cmp.Or(strings.Compare(a.day, b.day), strings.Compare(a.id, b.id)) })
	return all, err
}

func (s *Store) links(ctx context.Context, artistID string) (ids []string, err error) {
	list, err := s.parts(ctx, artistKey(artistID), kindLink, "", "", metadata.MaxArtistAlbums)
	for _, p := range list {
		ids = append(ids, p.id)
	}
	return ids, err
}

// ArtistAlbums implements [metadata.Store].
func (s *Store) ArtistAlbums(ctx context.Context, artistID string, v metadata.Viewer, limit int) (own, others []*metadatav1.AlbumRecord, err error) {
	if own, others, err = s.artistAlbums(ctx, artistID, newEye(v), limit); err != nil {
		return nil, nil, failed("albums of artist", err)
	}
	return own, others, nil
}

func (s *Store) artistAlbums(ctx context.Context, artistID string, look eye, limit int) (own, others []*metadatav1.AlbumRecord, err error) {
	links, err := s.links(ctx, artistID)
	if err != nil {
		return nil, nil, err
	}
	members, err := s.parts(ctx, artistKey(artistID), kindMember, "", "", metadata.MaxArtistTracks)
	if err != nil {
		return nil, nil, err
	}
	have := map[string]bool{}
	for _, id := range links {
		have[id] = true
	}
	var guest []string
	m := &metadatav1.ArtistMember{}
	for _, p := range members {
		if err := decode(p.data, m); err != nil {
			return nil, nil, err
		}
		if id := m.GetAlbumId(); !have[id] && look.sees(shareText(m.GetClassId(), m.GetOwnerId())) {
			have[id], guest = true, append(guest, id)
		}
	}
	if own, err = s.newest(ctx, links, look, limit); err != nil {
		return nil, nil, err
	}
	// A visible track makes its album visible.
	others, err = s.newest(ctx, guest, eye{all: true}, limit)
	return own, others, err
}

// newest are the newest albums of those that the viewer sees.
func (s *Store) newest(ctx context.Context, ids []string, look eye, limit int) ([]*metadatav1.AlbumRecord, error) {
	list, err := s.summaries(ctx, ids, look)
	if err != nil {
		return nil, err
	}
	list = list[:min(limit, len(list))]
	out := make([]*metadatav1.AlbumRecord, len(list))
	err = eachAtOnce(ctx, len(list), func(ctx context.Context, i int) error {
		data, err := s.record(ctx, albumKey(list[i].id))
		if err != nil {
			return err
		}
		out[i] = newAlbum()
		return decode(data, out[i])
	})
	return out, err
}

// CountArtistAlbums implements [metadata.Store].
func (s *Store) CountArtistAlbums(ctx context.Context, artistIDs []string, v metadata.Viewer) (map[string]uint32, error) {
	out, look := map[string]uint32{}, newEye(v)
	for _, id := range artistIDs {
		links, err := s.links(ctx, id)
		if err != nil {
			return nil, failed("number of albums", err)
		}
		list, err := s.summaries(ctx, links, look)
		if err != nil {
			return nil, failed("number of albums", err)
		}
		out[id] = uint32(len(list))
	}
	return out, nil
}

// Classes implements [metadata.Store].
func (s *Store) Classes(ctx context.Context) (out []*metadatav1.VisibilityClass, err error) {
	var data []byte
	err = s.db.Each(ctx, `SELECT data FROM class WHERE name = 'class'`, nil, []any{&data}, func() (bool, error) {
		c := &metadatav1.VisibilityClass{}
		out = append(out, c)
		return true, decode(data, c)
	})
	if err != nil {
		return nil, fmt.Errorf("read classes: %w", err)
	}
	return out, nil
}
