package cassandra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/services/playback"
)

func isAbsent(err error) bool { return errors.Is(err, playback.ErrAbsent) }

// PutTrack implements [playback.Store].
func (s *Store) PutTrack(ctx context.Context, t playback.Track) error {
	state, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("put track: %w", err)
	}
	for {
		done, err := s.putTrack(ctx, t, state)
		if err != nil {
			return fmt.Errorf("put track: %w", err)
		}
		if done {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("put track: %w", err)
		}
	}
}

// putTrack tries once; not done means that another state came between.
func (s *Store) putTrack(ctx context.Context, t playback.Track, state []byte) (done bool, err error) {
	var kept int64
	found, err := s.db.Get(ctx, `SELECT revision FROM track WHERE track_id = ?`, []any{t.ID}, &kept)
	if err != nil || found && uint64(kept) > t.Revision {
		return true, err
	}
	put := cassandradb.Statement{CQL: `INSERT INTO track (track_id, revision, state) VALUES (?, ?, ?) IF NOT EXISTS`, Args: []any{t.ID, int64(t.Revision), state}}
	if found {
		put = cassandradb.Statement{
			CQL:  `UPDATE track SET revision = ?, state = ? WHERE track_id = ? IF revision = ?`,
			Args: []any{int64(t.Revision), state, t.ID, kept},
		}
	}
	// Where it is not known what became of it, it is done again: the same state of the same
	// revision may be put twice.
	return s.db.Decide(ctx, []cassandradb.Statement{put}, func(context.Context) (cassandradb.Verdict, error) { return cassandradb.Refused, nil })
}

// Track implements [playback.Store].
func (s *Store) Track(ctx context.Context, id string) (t playback.Track, err error) {
	var state []byte
	found, err := s.db.Get(ctx, `SELECT state FROM track WHERE track_id = ?`, []any{id}, &state)
	switch {
	case err == nil && !found:
		err = playback.ErrAbsent
	case err == nil:
		err = json.Unmarshal(state, &t)
	}
	if err != nil {
		return playback.Track{}, fmt.Errorf("read track: %w", err)
	}
	return t, nil
}
