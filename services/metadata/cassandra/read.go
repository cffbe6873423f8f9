package cassandra

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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

func (s *Store) tracks(ctx context.Context, ids []string) (out []*metadatav1.TrackRecord, err error) {
	asked := make(map[string]bool, len(ids))
	var keys []string
	for _, id := range ids {
		if !asked[id] { // an id that is asked twice is answered once: a record has one owner
			asked[id], keys = true, append(keys, trackKey(id))
		}
	}
	found, err := s.heads(ctx, keys, recordColumns)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		h := found[key]
		if h == nil || h.data == nil {
			continue
		}
		r := newTrack()
		if err := decode(h.data, r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
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
	key := albumKey(albumID)
	found, err := s.families(ctx, []string{key}, kindOf{kindMember, noLimit})
	if err != nil {
		return nil, failed("tracks of album", err)
	}
	type placed struct {
		slot, id string
	}
	var order []placed
	for _, p := range found[key][kindMember] {
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

// ArtistAlbums implements [metadata.Store].
func (s *Store) ArtistAlbums(ctx context.Context, artistID string, v metadata.Viewer, limit int) (own, others []*metadatav1.AlbumRecord, err error) {
	if own, others, err = s.artistAlbums(ctx, artistID, newEye(v), limit); err != nil {
		return nil, nil, failed("albums of artist", err)
	}
	return own, others, nil
}

func (s *Store) artistAlbums(ctx context.Context, artistID string, look eye, limit int) (own, others []*metadatav1.AlbumRecord, err error) {
	key := artistKey(artistID)
	found, err := s.families(ctx, []string{key}, kindOf{kindLink, metadata.MaxArtistAlbums}, kindOf{kindMember, metadata.MaxArtistTracks})
	if err != nil {
		return nil, nil, err
	}
	have := map[string]bool{}
	var links, guest []string
	for _, p := range found[key][kindLink] {
		have[p.id], links = true, append(links, albumKey(p.id))
	}
	m := &metadatav1.ArtistMember{}
	for _, p := range found[key][kindMember] {
		if err := decode(p.data, m); err != nil {
			return nil, nil, err
		}
		if id := m.GetAlbumId(); !have[id] && look.sees(shareText(m.GetClassId(), m.GetOwnerId())) {
			have[id], guest = true, append(guest, albumKey(id))
		}
	}
	// With few albums all of them come at once, with many first what sorts them.
	columns := placeColumns
	if len(links)+len(guest) <= limit {
		columns = albumColumns
	}
	heads, err := s.heads(ctx, slices.Concat(links, guest), columns)
	if err != nil {
		return nil, nil, err
	}
	// A visible track makes its album visible.
	links, guest = newest(links, heads, look, limit), newest(guest, heads, eye{all: true}, limit)
	if columns.names == placeColumns.names {
		if heads, err = s.heads(ctx, slices.Concat(links, guest), recordColumns); err != nil {
			return nil, nil, err
		}
	}
	if own, err = albums(links, heads); err != nil {
		return nil, nil, err
	}
	others, err = albums(guest, heads)
	return own, others, err
}

// newest are the newest albums of those that the viewer sees.
func newest(keys []string, heads map[string]*head, look eye, limit int) []string {
	keys = slices.DeleteFunc(keys, func(key string) bool {
		h := heads[key]
		return h == nil || h.shares == "" || !look.sees(h.shares)
	})
	slices.SortFunc(keys, func(a, b string) int {
		return -cmp.Or(strings.Compare(heads[a].day, heads[b].day), strings.Compare(a, b))
	})
	return keys[:min(limit, len(keys))]
}

func albums(keys []string, heads map[string]*head) (out []*metadatav1.AlbumRecord, err error) {
	for _, key := range keys {
		h := heads[key]
		if h == nil {
			continue // a record never goes
		}
		r := newAlbum()
		if err := decode(h.data, r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// CountArtistAlbums implements [metadata.Store]. Of the albums only what decides who sees
// them is read.
func (s *Store) CountArtistAlbums(ctx context.Context, artistIDs []string, v metadata.Viewer) (map[string]uint32, error) {
	out, err := s.countAlbums(ctx, artistIDs, newEye(v))
	if err != nil {
		return nil, failed("number of albums", err)
	}
	return out, nil
}

func (s *Store) countAlbums(ctx context.Context, artistIDs []string, look eye) (map[string]uint32, error) {
	keys := make([]string, len(artistIDs))
	for i, id := range artistIDs {
		keys[i] = artistKey(id)
	}
	found, err := s.families(ctx, keys, kindOf{kindLink, metadata.MaxArtistAlbums})
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, f := range found {
		for _, p := range f[kindLink] {
			all[albumKey(p.id)] = true
		}
	}
	heads, err := s.heads(ctx, slices.Collect(maps.Keys(all)), sharesColumns)
	if err != nil {
		return nil, err
	}
	out := map[string]uint32{}
	for i, id := range artistIDs {
		n := uint32(0)
		for _, p := range found[keys[i]][kindLink] {
			if h := heads[albumKey(p.id)]; h != nil && h.shares != "" && look.sees(h.shares) {
				n++
			}
		}
		if n > 0 {
			out[id] = n
		}
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
