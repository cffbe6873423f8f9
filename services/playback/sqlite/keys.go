package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/playback"
)

const keyColumns = `object_id, track_id, kbps, kid, seal_id, master_id, wrapped, added`

// AddKey implements [playback.Store].
func (s *Store) AddKey(ctx context.Context, k playback.ContentKey) error {
	return s.write(ctx, "add key", func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO content_key (`+keyColumns+`, seq)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(seq), 0) + 1 FROM content_key))`,
			k.ObjectID, k.TrackID, k.Kbps, int64(k.KID), k.SealID[:], k.MasterID, k.Wrapped, k.Added.UnixMilli())
		if sqlitedb.IsUnique(err) {
			return playback.ErrTaken
		}
		return err
	})
}

// ContentKey implements [playback.Store].
func (s *Store) ContentKey(ctx context.Context, objectID string) (playback.ContentKey, error) {
	return scanKey(s.db.Reader().QueryRowContext(ctx, `SELECT `+keyColumns+` FROM content_key WHERE object_id = ?`, objectID))
}

// NewestKey implements [playback.Store].
func (s *Store) NewestKey(ctx context.Context, trackID string, kbps uint32) (playback.ContentKey, error) {
	return scanKey(s.db.Reader().QueryRowContext(ctx, `SELECT `+keyColumns+
		` FROM content_key WHERE track_id = ? AND kbps = ? ORDER BY seq DESC LIMIT 1`, trackID, kbps))
}

func scanKey(row scanner) (k playback.ContentKey, err error) {
	var kid, added int64
	var seal []byte
	err = row.Scan(&k.ObjectID, &k.TrackID, &k.Kbps, &kid, &seal, &k.MasterID, &k.Wrapped, &added)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = playback.ErrAbsent
	case err == nil && len(seal) != len(k.SealID):
		err = fmt.Errorf("seal id of %d bytes", len(seal))
	}
	if err != nil {
		return playback.ContentKey{}, fmt.Errorf("read content key: %w", err)
	}
	k.KID, k.SealID, k.Added = uint64(kid), [16]byte(seal), fromMS(added)
	return k, nil
}
