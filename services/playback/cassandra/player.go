package cassandra

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event/outbox/cassandrabox"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/services/playback"
)

// Player implements [playback.Store].
func (s *Store) Player(ctx context.Context, userID string) (*playbackv1.PlayerState, error) {
	var state, queue []byte
	_, err := s.db.Get(ctx, `SELECT state, queue FROM listener WHERE user_id = ? AND kind = 'player' AND id = ''`, []any{userID}, &state, &queue)
	out := new(playbackv1.PlayerState)
	if err == nil {
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
	rev, _, err := s.playerRevision(ctx, userID)
	if err != nil {
		return 0, fmt.Errorf("read player revision: %w", err)
	}
	return rev, nil
}

func (s *Store) playerRevision(ctx context.Context, userID string) (rev uint64, queueHash []byte, err error) {
	var n int64
	_, err = s.db.Get(ctx, `SELECT revision, queue_hash FROM listener WHERE user_id = ? AND kind = 'player' AND id = ''`, []any{userID}, &n, &queueHash)
	return uint64(n), queueHash, err
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
	return s.write(ctx, "put player", userID, func(c *cassandrabox.Change) error {
		rev, before, err := s.playerRevision(ctx, userID)
		if err != nil {
			return err
		}
		if rev+1 != state.GetRevision() {
			return playback.ErrStale
		}
		c.Do(`UPDATE listener SET revision = ?, state = ? WHERE user_id = ? AND kind = 'player' AND id = ''`, int64(rev+1), body, userID)
		if !bytes.Equal(before, hash[:]) {
			c.Do(`UPDATE listener SET queue = ?, queue_hash = ? WHERE user_id = ? AND kind = 'player' AND id = ''`, queue, hash[:], userID)
		}
		return s.add(ctx, c, events)
	})
}
