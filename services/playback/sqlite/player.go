package sqlite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/playback"
)

// Player implements [playback.Store].
func (s *Store) Player(ctx context.Context, userID string) (*playbackv1.PlayerState, error) {
	var state, queue []byte
	err := s.db.Reader().QueryRowContext(ctx, `SELECT state, queue FROM player WHERE user_id = ?`, userID).Scan(&state, &queue)
	out := new(playbackv1.PlayerState)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return out, nil
	case err == nil:
		// The two parts are one message: joined encodings are merged (protobuf encoding).
		err = proto.Unmarshal(append(state, queue...), out)
	}
	if err != nil {
		return nil, fmt.Errorf("read player: %w", err)
	}
	return out, nil
}

// PlayerRevision implements [playback.Store].
func (s *Store) PlayerRevision(ctx context.Context, userID string) (uint64, error) {
	var rev int64
	err := s.db.Reader().QueryRowContext(ctx, `SELECT revision FROM player WHERE user_id = ?`, userID).Scan(&rev)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read player revision: %w", err)
	}
	return uint64(rev), nil
}

// PutPlayer implements [playback.Store].
func (s *Store) PutPlayer(ctx context.Context, userID string, state *playbackv1.PlayerState, events ...playback.Event) error {
	rest := proto.CloneOf(state)
	rest.Queue = nil
	body, err1 := proto.Marshal(rest)
	queue, err2 := proto.Marshal(&playbackv1.PlayerState{Queue: state.GetQueue()})
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("put player: %w", err)
	}
	hash := sha256.Sum256(queue)
	return s.write(ctx, "put player", func(tx *sqlitedb.Tx) error {
		var rev int64
		var before []byte
		err := tx.QueryRowContext(ctx, `SELECT revision, queue_hash FROM player WHERE user_id = ?`, userID).Scan(&rev, &before)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if uint64(rev)+1 != state.GetRevision() {
			return playback.ErrStale
		}
		if bytes.Equal(before, hash[:]) {
			_, err = tx.ExecContext(ctx, `UPDATE player SET revision = ?, state = ? WHERE user_id = ?`, rev+1, body, userID)
		} else {
			_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO player (user_id, revision, state, queue, queue_hash) VALUES (?, ?, ?, ?, ?)`,
				userID, rev+1, body, queue, hash[:])
		}
		if err != nil {
			return err
		}
		return s.add(ctx, tx, events)
	})
}
