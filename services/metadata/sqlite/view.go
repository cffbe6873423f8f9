package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/internal/sqlitedb"
)

// view is metadata.View inside the writer's transaction.
type view struct{ tx *sqlitedb.Tx }

// one reads one message; nil when there is no row.
func one[T proto.Message](ctx context.Context, tx *sqlitedb.Tx, into T, query string, args ...any) (T, error) {
	var none T
	var data []byte
	err := tx.QueryRowContext(ctx, query, args...).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	return into, decode(data, into)
}

func decode(data []byte, into proto.Message) error {
	if err := proto.Unmarshal(data, into); err != nil {
		return fmt.Errorf("decode %s: %w", into.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}

func (v view) Keys(ctx context.Context, keys []string) (_ map[string]string, err error) {
	found := map[string]string{}
	if len(keys) == 0 {
		return found, nil
	}
	args := make([]any, len(keys))
	for i, k := range keys {
		args[i] = k
	}
	rows, err := v.tx.QueryContext(ctx, `SELECT key, id FROM claim WHERE key IN (?`+strings.Repeat(", ?", len(keys)-1)+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var k, id string
		if err := rows.Scan(&k, &id); err != nil {
			return nil, err
		}
		found[k] = id
	}
	return found, rows.Err()
}

func (v view) Track(ctx context.Context, id string) (*metadatav1.TrackRecord, error) {
	return one(ctx, v.tx, &metadatav1.TrackRecord{}, `SELECT data FROM track WHERE id = ?`, id)
}

func (v view) Album(ctx context.Context, id string) (*metadatav1.AlbumRecord, error) {
	return one(ctx, v.tx, &metadatav1.AlbumRecord{}, `SELECT data FROM album WHERE id = ?`, id)
}

func (v view) Artist(ctx context.Context, id string) (*metadatav1.ArtistRecord, error) {
	return one(ctx, v.tx, &metadatav1.ArtistRecord{}, `SELECT data FROM artist WHERE id = ?`, id)
}

func (v view) AlbumMember(ctx context.Context, albumID, trackID string) (*metadatav1.AlbumMember, error) {
	return one(ctx, v.tx, &metadatav1.AlbumMember{},
		`SELECT data FROM album_member WHERE album_id = ? AND track_id = ?`, albumID, trackID)
}

func (v view) AlbumSlot(ctx context.Context, albumID string, disc, number uint32) (_ []*metadatav1.AlbumMember, err error) {
	rows, err := v.tx.QueryContext(ctx,
		`SELECT data FROM album_member WHERE album_id = ? AND disc = ? AND number = ? ORDER BY track_id LIMIT 64`, albumID, disc, number)
	if err != nil {
		return nil, err
	}
	return messages(rows, func() *metadatav1.AlbumMember { return &metadatav1.AlbumMember{} })
}

func (v view) ArtistMember(ctx context.Context, artistID, trackID string) (*metadatav1.ArtistMember, error) {
	return one(ctx, v.tx, &metadatav1.ArtistMember{},
		`SELECT data FROM artist_member WHERE artist_id = ? AND track_id = ?`, artistID, trackID)
}

func (v view) OnAlbum(ctx context.Context, artistID, albumID string) (on bool, err error) {
	err = v.tx.QueryRowContext(ctx,
		`SELECT EXISTS (SELECT 1 FROM artist_album WHERE artist_id = ? AND album_id = ?)`, artistID, albumID).Scan(&on)
	return on, err
}

func (v view) AlbumMemberIDs(ctx context.Context, albumID, after string, limit int) ([]string, error) {
	return v.ids(ctx, `SELECT track_id FROM album_member WHERE album_id = ? AND track_id > ? ORDER BY track_id LIMIT ?`, albumID, after, limit)
}

func (v view) ArtistMemberIDs(ctx context.Context, artistID, after string, limit int) ([]string, error) {
	return v.ids(ctx, `SELECT track_id FROM artist_member WHERE artist_id = ? AND track_id > ? ORDER BY track_id LIMIT ?`, artistID, after, limit)
}

func (v view) ArtistAlbumIDs(ctx context.Context, artistID, after string, limit int) ([]string, error) {
	return v.ids(ctx, `SELECT album_id FROM artist_album WHERE artist_id = ? AND album_id > ? ORDER BY album_id LIMIT ?`, artistID, after, limit)
}

func (v view) ids(ctx context.Context, query string, args ...any) (ids []string, err error) {
	rows, err := v.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// messages reads a column of messages and closes rows.
func messages[T proto.Message](rows *sql.Rows, make func() T) (out []T, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var data sql.RawBytes
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
		m := make()
		if err := decode(data, m); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}
