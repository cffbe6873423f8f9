package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/services/metadata"
)

// Dump calls fn with all that is in the file now, whatever is changed meanwhile.
func (s *Store) Dump(ctx context.Context, fn func(metadata.Dump) error) error {
	return s.db.Read(ctx, func(tx *sql.Tx) error { return fn(dump{tx}) })
}

type dump struct{ tx *sql.Tx }

var _ metadata.Dump = dump{}

// each yields what scan makes of the rows of a query.
func each[T any](ctx context.Context, tx *sql.Tx, what string, scan func(*sql.Rows) (T, error), query string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			yield(none, failed(what, err))
			return
		}
		defer func() { _ = rows.Close() }() // only read: an error was told by Err
		for rows.Next() {
			v, err := scan(rows)
			if err != nil {
				yield(none, failed(what, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(none, failed(what, err))
		}
	}
}

// record is a scan of a row that is a message.
func record[T proto.Message](fresh func() T) func(*sql.Rows) (T, error) {
	return func(rows *sql.Rows) (m T, err error) {
		var data sql.RawBytes
		if err := rows.Scan(&data); err != nil {
			return m, err
		}
		m = fresh()
		return m, decode(data, m)
	}
}

// State implements metadata.Dump: every change of an entity has a revision of its own.
func (d dump) State(ctx context.Context) (string, error) {
	h := sha256.New()
	rows := each(ctx, d.tx, "state", func(rows *sql.Rows) (struct{}, error) {
		var kind, id string
		var revision int64
		err := rows.Scan(&kind, &id, &revision)
		_, _ = fmt.Fprintln(h, kind, id, revision) // never fails
		return struct{}{}, err
	}, `SELECT * FROM (SELECT 'track', id, revision FROM track ORDER BY id)
		UNION ALL SELECT * FROM (SELECT 'album', id, revision FROM album ORDER BY id)
		UNION ALL SELECT * FROM (SELECT 'artist', id, revision FROM artist ORDER BY id)`)
	for _, err := range rows {
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (d dump) Classes(ctx context.Context) iter.Seq2[*metadatav1.VisibilityClass, error] {
	return each(ctx, d.tx, "classes", record(newClass), `SELECT data FROM class`)
}

func (d dump) Tracks(ctx context.Context) iter.Seq2[*metadatav1.TrackRecord, error] {
	return each(ctx, d.tx, "tracks", record(newTrack), `SELECT data FROM track`)
}

func (d dump) Albums(ctx context.Context) iter.Seq2[*metadatav1.AlbumRecord, error] {
	return each(ctx, d.tx, "albums", record(newAlbum), `SELECT data FROM album`)
}

func (d dump) Artists(ctx context.Context) iter.Seq2[*metadatav1.ArtistRecord, error] {
	return each(ctx, d.tx, "artists", record(newArtist), `SELECT data FROM artist`)
}

func (d dump) AlbumMembers(ctx context.Context, albumID string) iter.Seq2[*metadatav1.AlbumMember, error] {
	return each(ctx, d.tx, "members of album", record(func() *metadatav1.AlbumMember { return &metadatav1.AlbumMember{} }),
		`SELECT data FROM album_member WHERE album_id = ? ORDER BY track_id`, albumID)
}

func (d dump) ArtistMembers(ctx context.Context, artistID string) iter.Seq2[*metadatav1.ArtistMember, error] {
	return each(ctx, d.tx, "members of artist", record(func() *metadatav1.ArtistMember { return &metadatav1.ArtistMember{} }),
		`SELECT data FROM artist_member WHERE artist_id = ? ORDER BY track_id`, artistID)
}

func (d dump) ArtistAlbums(ctx context.Context, artistID string) iter.Seq2[string, error] {
	return each(ctx, d.tx, "albums of artist", func(rows *sql.Rows) (id string, err error) { return id, rows.Scan(&id) },
		`SELECT album_id FROM artist_album WHERE artist_id = ? ORDER BY album_id`, artistID)
}

func (d dump) Claims(ctx context.Context) iter.Seq2[metadata.Claim, error] {
	return each(ctx, d.tx, "keys", func(rows *sql.Rows) (c metadata.Claim, err error) { return c, rows.Scan(&c.Key, &c.ID) },
		`SELECT key, id FROM claim`)
}

func (d dump) Marks(ctx context.Context) iter.Seq2[metadata.Mark, error] {
	return each(ctx, d.tx, "marks", func(rows *sql.Rows) (m metadata.Mark, err error) {
		var kind string
		var due int64
		err = rows.Scan(&kind, &m.ID, &due)
		m.Kind, m.Due = metadata.Kind(kind), time.UnixMilli(due).UTC()
		return m, err
	}, `SELECT kind, id, due FROM mark`)
}
