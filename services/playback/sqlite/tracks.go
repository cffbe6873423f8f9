package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/playback"
)

// PutTrack implements [playback.Store].
func (s *Store) PutTrack(ctx context.Context, t playback.Track) error {
	state, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("put track: %w", err)
	}
	return s.write(ctx, "put track", func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO track (track_id, revision, state) VALUES (?, ?, ?)
			ON CONFLICT (track_id) DO UPDATE SET revision = excluded.revision, state = excluded.state
			WHERE excluded.revision >= track.revision`, t.ID, int64(t.Revision), state)
		return err
	})
}

// Track implements [playback.Store].
func (s *Store) Track(ctx context.Context, id string) (t playback.Track, err error) {
	var state []byte
	err = s.db.Reader().QueryRowContext(ctx, `SELECT state FROM track WHERE track_id = ?`, id).Scan(&state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = playback.ErrAbsent
	case err == nil:
		err = json.Unmarshal(state, &t)
	}
	if err != nil {
		return playback.Track{}, fmt.Errorf("read track: %w", err)
	}
	return t, nil
}
