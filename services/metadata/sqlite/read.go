package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/services/metadata"
)

func newTrack() *metadatav1.TrackRecord     { return &metadatav1.TrackRecord{} }
func newAlbum() *metadatav1.AlbumRecord     { return &metadatav1.AlbumRecord{} }
func newArtist() *metadatav1.ArtistRecord   { return &metadatav1.ArtistRecord{} }
func newClass() *metadatav1.VisibilityClass { return &metadatav1.VisibilityClass{} }
func array[T any](list []T) (string, error) { b, err := json.Marshal(list); return string(b), err }
func failed(what string, err error) error   { return fmt.Errorf("read %s: %w", what, err) }
func orNotFound(what string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		err = metadata.ErrNotFound
	}
	return failed(what, err)
}

// Tracks implements [metadata.Store].
func (s *Store) Tracks(ctx context.Context, ids []string) ([]*metadatav1.TrackRecord, error) {
	list, err := array(ids)
	if err != nil {
		return nil, failed("tracks", err)
	}
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT data FROM track WHERE id IN (SELECT value FROM json_each(?))`, list)
	if err != nil {
		return nil, failed("tracks", err)
	}
	found, err := messages(rows, newTrack)
	if err != nil {
		return nil, failed("tracks", err)
	}
	byID := make(map[string]*metadatav1.TrackRecord, len(found))
	for _, r := range found {
		byID[r.GetTrack().GetId()] = r
	}
	var out []*metadatav1.TrackRecord
	for _, id := range ids {
		if r := byID[id]; r != nil {
			out = append(out, r)
			delete(byID, id) // an id that is asked twice is answered once: a record has one owner
		}
	}
	return out, nil
}

// Album implements [metadata.Store].
func (s *Store) Album(ctx context.Context, id string) (*metadatav1.AlbumRecord, error) {
	var data []byte
	if err := s.db.Reader().QueryRowContext(ctx, `SELECT data FROM album WHERE id = ?`, id).Scan(&data); err != nil {
		return nil, orNotFound("album", err)
	}
	r := newAlbum()
	return r, decode(data, r)
}

// Artist implements [metadata.Store].
func (s *Store) Artist(ctx context.Context, id string) (*metadatav1.ArtistRecord, error) {
	var data []byte
	if err := s.db.Reader().QueryRowContext(ctx, `SELECT data FROM artist WHERE id = ?`, id).Scan(&data); err != nil {
		return nil, orNotFound("artist", err)
	}
	r := newArtist()
	return r, decode(data, r)
}

// AlbumTracks implements [metadata.Store].
func (s *Store) AlbumTracks(ctx context.Context, albumID string) ([]*metadatav1.TrackRecord, error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT t.data FROM album_member m JOIN track t ON t.id = m.track_id
		WHERE m.album_id = ? ORDER BY m.disc, m.number, m.track_id`, albumID)
	if err != nil {
		return nil, failed("tracks of album", err)
	}
	out, err := messages(rows, newTrack)
	if err != nil {
		return nil, failed("tracks of album", err)
	}
	return out, nil
}

// ArtistAlbums implements [metadata.Store].
func (s *Store) ArtistAlbums(ctx context.Context, artistID string, v metadata.Viewer, limit int) (own, others []*metadatav1.AlbumRecord, err error) {
	f, err := newFilter(v)
	if err != nil {
		return nil, nil, failed("albums of artist", err)
	}
	err = s.db.Read(ctx, func(tx *sql.Tx) error {
		cond, args := f.group("album", "a.id")
		//nolint:gosec // cond is one of our texts
		rows, err := tx.QueryContext(ctx, `SELECT a.data FROM artist_album l JOIN album a ON a.id = l.album_id
			WHERE l.artist_id = ? AND a.live AND `+cond+` ORDER BY a.date DESC, a.id DESC LIMIT ?`, join(artistID, args, limit)...)
		if err != nil {
			return err
		}
		if own, err = messages(rows, newAlbum); err != nil {
			return err
		}
		cond, args = f.row("m")
		//nolint:gosec // cond is one of our texts
		rows, err = tx.QueryContext(ctx, `SELECT a.data FROM album a WHERE a.live
			AND a.id IN (SELECT m.album_id FROM artist_member m WHERE m.artist_id = ? AND `+cond+`)
			AND NOT EXISTS (SELECT 1 FROM artist_album l WHERE l.artist_id = ? AND l.album_id = a.id)
			ORDER BY a.date DESC, a.id DESC LIMIT ?`, join(artistID, args, artistID, limit)...)
		if err != nil {
			return err
		}
		others, err = messages(rows, newAlbum)
		return err
	})
	if err != nil {
		return nil, nil, failed("albums of artist", err)
	}
	return own, others, nil
}

// CountArtistAlbums implements [metadata.Store].
func (s *Store) CountArtistAlbums(ctx context.Context, artistIDs []string, v metadata.Viewer) (_ map[string]uint32, err error) {
	f, err := newFilter(v)
	if err != nil {
		return nil, failed("number of albums", err)
	}
	ids, err := array(artistIDs)
	if err != nil {
		return nil, failed("number of albums", err)
	}
	cond, args := f.group("album", "a.id")
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT l.artist_id, count(*) FROM artist_album l JOIN album a ON a.id = l.album_id
		WHERE l.artist_id IN (SELECT value FROM json_each(?)) AND a.live AND `+cond+` GROUP BY l.artist_id`, join(ids, args)...)
	if err != nil {
		return nil, failed("number of albums", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out := map[string]uint32{}
	for rows.Next() {
		var id string
		var n uint32
		if err := rows.Scan(&id, &n); err != nil {
			return nil, failed("number of albums", err)
		}
		out[id] = n
	}
	return out, rows.Err()
}

// Classes implements [metadata.Store].
func (s *Store) Classes(ctx context.Context) ([]*metadatav1.VisibilityClass, error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT data FROM class ORDER BY id`)
	if err != nil {
		return nil, failed("classes", err)
	}
	out, err := messages(rows, newClass)
	if err != nil {
		return nil, failed("classes", err)
	}
	return out, nil
}

// Marks implements [metadata.Store].
func (s *Store) Marks(ctx context.Context, now time.Time, limit int) (marks []metadata.Mark, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT kind, id, due FROM mark WHERE due <= ? ORDER BY due LIMIT ?`, now.UnixMilli(), limit)
	if err != nil {
		return nil, failed("marks", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var m metadata.Mark
		var kind string
		var due int64
		if err := rows.Scan(&kind, &m.ID, &due); err != nil {
			return nil, failed("marks", err)
		}
		m.Kind, m.Due = metadata.Kind(kind), time.UnixMilli(due).UTC()
		marks = append(marks, m)
	}
	return marks, rows.Err()
}

// NextMark implements [metadata.Store].
func (s *Store) NextMark(ctx context.Context) (time.Time, error) {
	var due sql.NullInt64
	if err := s.db.Reader().QueryRowContext(ctx, `SELECT min(due) FROM mark`).Scan(&due); err != nil {
		return time.Time{}, failed("marks", err)
	}
	if !due.Valid {
		return time.Time{}, nil
	}
	return time.UnixMilli(due.Int64).UTC(), nil
}
