package cassandra

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// view is metadata.View. It remembers the version that each entity had before anything of
// it was read: the change is made only where it has that still.
type view struct {
	store *Store
	heads map[string]*head
}

func (v *view) touch(ctx context.Context, key string) (*head, error) {
	if h := v.heads[key]; h != nil {
		return h, nil
	}
	h, err := v.store.head(ctx, key)
	if err != nil {
		return nil, err
	}
	v.heads[key] = &h
	return &h, nil
}

// record reads an entity; false when there is none.
func (v *view) record(ctx context.Context, key string, into proto.Message) (bool, error) {
	h, err := v.touch(ctx, key)
	if err != nil || h.data == nil {
		return false, err
	}
	return true, decode(h.data, into)
}

func (v *view) Keys(ctx context.Context, keys []string) (map[string]string, error) {
	found := map[string]string{}
	var mu sync.Mutex
	err := eachAtOnce(ctx, len(keys), func(ctx context.Context, i int) error {
		var id string
		ok, err := v.store.db.Get(ctx, `SELECT id FROM claim WHERE key = ?`, []any{keys[i]}, &id)
		if ok {
			mu.Lock()
			defer mu.Unlock()
			found[keys[i]] = id
		}
		return err
	})
	return found, err
}

func (v *view) Track(ctx context.Context, id string) (*metadatav1.TrackRecord, error) {
	r := &metadatav1.TrackRecord{}
	if ok, err := v.record(ctx, trackKey(id), r); err != nil || !ok {
		return nil, err
	}
	return r, nil
}

func (v *view) Album(ctx context.Context, id string) (*metadatav1.AlbumRecord, error) {
	r := &metadatav1.AlbumRecord{}
	if ok, err := v.record(ctx, albumKey(id), r); err != nil || !ok {
		return nil, err
	}
	return r, nil
}

func (v *view) Artist(ctx context.Context, id string) (*metadatav1.ArtistRecord, error) {
	r := &metadatav1.ArtistRecord{}
	if ok, err := v.record(ctx, artistKey(id), r); err != nil || !ok {
		return nil, err
	}
	return r, nil
}

// member reads a part; nil when there is none.
func (v *view) member(ctx context.Context, key, kind, id string) (*part, error) {
	h, err := v.touch(ctx, key)
	if err != nil || h.version == 0 {
		return nil, err
	}
	return v.store.part(ctx, key, kind, id)
}

func (v *view) AlbumMember(ctx context.Context, albumID, trackID string) (*metadatav1.AlbumMember, error) {
	p, err := v.member(ctx, albumKey(albumID), kindMember, trackID)
	if err != nil || p == nil {
		return nil, err
	}
	m := &metadatav1.AlbumMember{}
	return m, decode(p.data, m)
}

func (v *view) ArtistMember(ctx context.Context, artistID, trackID string) (*metadatav1.ArtistMember, error) {
	p, err := v.member(ctx, artistKey(artistID), kindMember, trackID)
	if err != nil || p == nil {
		return nil, err
	}
	m := &metadatav1.ArtistMember{}
	return m, decode(p.data, m)
}

func (v *view) OnAlbum(ctx context.Context, artistID, albumID string) (bool, error) {
	p, err := v.member(ctx, artistKey(artistID), kindLink, albumID)
	return p != nil, err
}

// slotMembers bounds those at one place.
const slotMembers = 64

func (v *view) AlbumSlot(ctx context.Context, albumID string, disc, number uint32) ([]*metadatav1.AlbumMember, error) {
	key, place := albumKey(albumID), slotID(disc, number, "")
	if h, err := v.touch(ctx, key); err != nil || h.version == 0 {
		return nil, err
	}
	slots, err := v.store.parts(ctx, key, kindSlot, place, place+"\U0010ffff", slotMembers)
	if err != nil {
		return nil, err
	}
	var out []*metadatav1.AlbumMember
	for _, slot := range slots {
		m, err := v.AlbumMember(ctx, albumID, slot.id[slotPlace:])
		if err != nil {
			return nil, err
		}
		if m != nil {
			out = append(out, m)
		}
	}
	return out, nil
}

func (v *view) AlbumMemberIDs(ctx context.Context, albumID, after string, limit int) ([]string, error) {
	return v.ids(ctx, albumKey(albumID), kindMember, after, limit)
}

func (v *view) ArtistMemberIDs(ctx context.Context, artistID, after string, limit int) ([]string, error) {
	return v.ids(ctx, artistKey(artistID), kindMember, after, limit)
}

func (v *view) ArtistAlbumIDs(ctx context.Context, artistID, after string, limit int) ([]string, error) {
	return v.ids(ctx, artistKey(artistID), kindLink, after, limit)
}

func (v *view) ids(ctx context.Context, key, kind, after string, limit int) (ids []string, err error) {
	if h, err := v.touch(ctx, key); err != nil || h.version == 0 {
		return nil, err
	}
	list, err := v.store.parts(ctx, key, kind, after, "", limit)
	for _, p := range list {
		ids = append(ids, p.id)
	}
	return ids, err
}
