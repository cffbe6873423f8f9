package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/metadata"
)

// Change implements [metadata.Store].
func (s *Store) Change(ctx context.Context, plan metadata.Plan) error {
	return s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		c, err := plan(ctx, view{tx})
		if err != nil || c == nil {
			return err
		}
		return s.apply(ctx, tx, c)
	})
}

func (s *Store) apply(ctx context.Context, tx *sqlitedb.Tx, c *metadata.Change) error {
	for _, cl := range c.Claims {
		if err := claim(ctx, tx, cl); err != nil {
			return fmt.Errorf("claim key: %w", err)
		}
	}
	for _, m := range c.Marks {
		_, err := tx.ExecContext(ctx, `INSERT INTO mark (kind, id, due) VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET due = excluded.due`,
			string(m.Kind), m.ID, m.Due.UnixMilli())
		if err != nil {
			return fmt.Errorf("set mark: %w", err)
		}
	}
	for i := range c.Artists {
		if err := s.applyArtist(ctx, tx, &c.Artists[i]); err != nil {
			return fmt.Errorf("store artist: %w", err)
		}
	}
	for i := range c.Albums {
		if err := s.applyAlbum(ctx, tx, &c.Albums[i]); err != nil {
			return fmt.Errorf("store album: %w", err)
		}
	}
	for i := range c.Tracks {
		if err := s.applyTrack(ctx, tx, &c.Tracks[i]); err != nil {
			return fmt.Errorf("store track: %w", err)
		}
	}
	for _, m := range c.Done {
		_, err := tx.ExecContext(ctx, `DELETE FROM mark WHERE kind = ? AND id = ? AND due = ?`, string(m.Kind), m.ID, m.Due.UnixMilli())
		if err != nil {
			return fmt.Errorf("remove mark: %w", err)
		}
	}
	return nil
}

func claim(ctx context.Context, tx *sqlitedb.Tx, c metadata.Claim) error {
	res, err := tx.ExecContext(ctx, `INSERT INTO claim (key, id) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`, c.Key, c.ID)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	var id string
	if err := tx.QueryRowContext(ctx, `SELECT id FROM claim WHERE key = ?`, c.Key).Scan(&id); err != nil {
		return err
	}
	if id != c.ID {
		return metadata.ErrConflict
	}
	return nil
}

// one row must have been written: the revision was that of Before, or there was none.
func written(res sql.Result, err error) error {
	if sqlitedb.IsUnique(err) {
		return metadata.ErrConflict.Because(err)
	}
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		return metadata.ErrConflict
	}
	return err
}

func (s *Store) publish(ctx context.Context, tx *sqlitedb.Tx, key string, events []*eventv1.Envelope) error {
	for _, e := range events {
		if err := s.box.Add(ctx, tx, event.Catalogue, key, e); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) applyTrack(ctx context.Context, tx *sqlitedb.Tx, c *metadata.TrackChange) error {
	t := c.After.GetTrack()
	data, err := proto.Marshal(c.After)
	if err != nil {
		return err
	}
	sort, class := metadata.TrackSortKey(t), c.After.GetClass().GetId()
	switch was := c.Before; {
	case was == nil:
		err = written(tx.ExecContext(ctx, `INSERT INTO track (id, revision, owner_id, class_id, added, sort_title, data) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			t.GetId(), t.GetRevision(), t.GetOwnerId(), class, t.GetAddedUnixMs(), sort, data))
	case was.GetClass().GetId() == class && metadata.TrackSortKey(was.GetTrack()) == sort:
		// Naming an indexed column would rewrite its indexes.
		err = written(tx.ExecContext(ctx, `UPDATE track SET revision = ?, data = ? WHERE id = ? AND revision = ?`,
			t.GetRevision(), data, t.GetId(), was.GetTrack().GetRevision()))
	default:
		err = written(tx.ExecContext(ctx, `UPDATE track SET revision = ?, class_id = ?, sort_title = ?, data = ? WHERE id = ? AND revision = ?`,
			t.GetRevision(), class, sort, data, t.GetId(), was.GetTrack().GetRevision()))
	}
	if err != nil {
		return err
	}
	if err := moveClass(ctx, tx, c.Before, c.After.GetClass()); err != nil {
		return err
	}
	return s.publish(ctx, tx, t.GetId(), c.Events)
}

// moveClass keeps the number of tracks of each class.
func moveClass(ctx context.Context, tx *sqlitedb.Tx, was *metadatav1.TrackRecord, now *metadatav1.VisibilityClass) error {
	if was != nil {
		if was.GetClass().GetId() == now.GetId() {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `UPDATE class SET tracks = tracks - 1 WHERE id = ?`, was.GetClass().GetId()); err != nil {
			return err
		}
	}
	res, err := tx.ExecContext(ctx, `UPDATE class SET tracks = tracks + 1 WHERE id = ?`, now.GetId())
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	data, err := proto.Marshal(now)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO class (id, data, tracks) VALUES (?, ?, 1)`, now.GetId(), data)
	return err
}

func (s *Store) applyAlbum(ctx context.Context, tx *sqlitedb.Tx, c *metadata.AlbumChange) error {
	a, was := c.After.GetAlbum(), c.Before.GetAlbum()
	data, err := proto.Marshal(c.After)
	if err != nil {
		return err
	}
	live := a.GetTrackCount() > 0
	switch {
	case c.Before == nil:
		err = written(tx.ExecContext(ctx,
			`INSERT INTO album (id, revision, live, owner_id, added, date, sort_title, sort_artist, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			a.GetId(), a.GetRevision(), live, c.After.GetOwnerId(), a.GetAddedUnixMs(), a.GetDate(), c.After.GetSortTitle(), c.After.GetSortArtist(), data))
	case live == (was.GetTrackCount() > 0) && a.GetDate() == was.GetDate() &&
		c.After.GetSortTitle() == c.Before.GetSortTitle() && c.After.GetSortArtist() == c.Before.GetSortArtist():
		err = written(tx.ExecContext(ctx, `UPDATE album SET revision = ?, data = ? WHERE id = ? AND revision = ?`,
			a.GetRevision(), data, a.GetId(), was.GetRevision()))
	default:
		err = written(tx.ExecContext(ctx,
			`UPDATE album SET revision = ?, live = ?, date = ?, sort_title = ?, sort_artist = ?, data = ? WHERE id = ? AND revision = ?`,
			a.GetRevision(), live, a.GetDate(), c.After.GetSortTitle(), c.After.GetSortArtist(), data, a.GetId(), was.GetRevision()))
	}
	if err != nil {
		return err
	}
	for _, m := range c.Put {
		data, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO album_member (album_id, track_id, disc, number, data) VALUES (?, ?, ?, ?, ?)`,
			a.GetId(), m.GetTrackId(), m.GetDisc(), m.GetNumber(), data)
		if err != nil {
			return err
		}
	}
	for _, id := range c.Drop {
		if _, err := tx.ExecContext(ctx, `DELETE FROM album_member WHERE album_id = ? AND track_id = ?`, a.GetId(), id); err != nil {
			return err
		}
	}
	if err := reshare(ctx, tx, "album", a.GetId(), c.Before.GetShares(), c.After.GetShares()); err != nil {
		return err
	}
	return s.publish(ctx, tx, a.GetId(), c.Events)
}

// reshare makes the table of shares of an album or artist agree with its record.
func reshare(ctx context.Context, tx *sqlitedb.Tx, kind, id string, was, now []*metadatav1.Share) error {
	const put, drop = 1, -1
	type pair struct {
		class int64
		owner string
	}
	todo := map[pair]int{}
	for _, s := range was {
		todo[pair{s.GetClassId(), s.GetOwnerId()}] = drop
	}
	for _, s := range now {
		todo[pair{s.GetClassId(), s.GetOwnerId()}]++ // put, or 0 where it was there
	}
	var errs []error
	for p, do := range todo {
		var err error
		switch do {
		case put:
			_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO `+kind+`_share (`+kind+`_id, class_id, owner_id) VALUES (?, ?, ?)`, id, p.class, p.owner)
		case drop:
			_, err = tx.ExecContext(ctx, `DELETE FROM `+kind+`_share WHERE `+kind+`_id = ? AND class_id = ? AND owner_id = ?`, id, p.class, p.owner)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *Store) applyArtist(ctx context.Context, tx *sqlitedb.Tx, c *metadata.ArtistChange) error {
	a := c.After.GetArtist()
	data, err := proto.Marshal(c.After)
	if err != nil {
		return err
	}
	live := len(c.After.GetShares()) > 0
	switch {
	case c.Before == nil:
		err = written(tx.ExecContext(ctx, `INSERT INTO artist (id, revision, live, sort_name, data) VALUES (?, ?, ?, ?, ?)`,
			a.GetId(), a.GetRevision(), live, c.After.GetSortName(), data))
	case live == (len(c.Before.GetShares()) > 0) && c.After.GetSortName() == c.Before.GetSortName():
		err = written(tx.ExecContext(ctx, `UPDATE artist SET revision = ?, data = ? WHERE id = ? AND revision = ?`,
			a.GetRevision(), data, a.GetId(), c.Before.GetArtist().GetRevision()))
	default:
		err = written(tx.ExecContext(ctx, `UPDATE artist SET revision = ?, live = ?, sort_name = ?, data = ? WHERE id = ? AND revision = ?`,
			a.GetRevision(), live, c.After.GetSortName(), data, a.GetId(), c.Before.GetArtist().GetRevision()))
	}
	if err != nil {
		return err
	}
	for _, m := range c.Put {
		data, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO artist_member (artist_id, track_id, album_id, class_id, owner_id, data) VALUES (?, ?, ?, ?, ?, ?)`,
			a.GetId(), m.GetTrackId(), m.GetAlbumId(), m.GetClassId(), m.GetOwnerId(), data)
		if err != nil {
			return err
		}
	}
	type row struct{ query, id string }
	var rows []row
	for _, id := range c.Drop {
		rows = append(rows, row{`DELETE FROM artist_member WHERE artist_id = ? AND track_id = ?`, id})
	}
	for _, id := range c.Link {
		rows = append(rows, row{`INSERT OR REPLACE INTO artist_album (artist_id, album_id) VALUES (?, ?)`, id})
	}
	for _, id := range c.Unlink {
		rows = append(rows, row{`DELETE FROM artist_album WHERE artist_id = ? AND album_id = ?`, id})
	}
	for _, r := range rows {
		if _, err := tx.ExecContext(ctx, r.query, a.GetId(), r.id); err != nil {
			return err
		}
	}
	if err := reshare(ctx, tx, "artist", a.GetId(), c.Before.GetShares(), c.After.GetShares()); err != nil {
		return err
	}
	return s.publish(ctx, tx, a.GetId(), c.Events)
}
