package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/playback"
)

// Play implements [playback.Store].
func (s *Store) Play(ctx context.Context, userID, playID string) (playback.Play, error) {
	var state []byte
	p := playback.Play{UserID: userID, ID: playID}
	err := s.db.Reader().QueryRowContext(ctx, `SELECT state FROM play WHERE user_id = ? AND play_id = ?`, userID, playID).Scan(&state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return p, nil
	case err == nil:
		err = json.Unmarshal(state, &p)
	}
	if err != nil {
		return playback.Play{}, fmt.Errorf("read play: %w", err)
	}
	return p, nil
}

// SeenEvents implements [playback.Store].
func (s *Store) SeenEvents(ctx context.Context, userID string, ids []string) (_ map[string]bool, err error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("look up events: %w", err)
	}
	rows, err := s.db.Reader().QueryContext(ctx,
		`SELECT event_id FROM seen_event WHERE user_id = ? AND event_id IN (SELECT value FROM json_each(?))`, userID, string(list))
	if err != nil {
		return nil, fmt.Errorf("look up events: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	seen := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("look up events: %w", err)
		}
		seen[id] = true
	}
	return seen, rows.Err()
}

// maxChanges bounds those of one transaction, and so the wait of other writers.
const maxChanges = 250

// CommitPlays implements [playback.Store].
func (s *Store) CommitPlays(ctx context.Context, changes []playback.PlayChange) []error {
	out := make([]error, len(changes))
	for from := 0; from < len(changes); from += maxChanges {
		part := out[from:min(from+maxChanges, len(changes))]
		err := s.write(ctx, "commit plays", func(tx *sqlitedb.Tx) error {
			for i := range part {
				fresh, err := s.fresh(ctx, tx, changes[from+i])
				if err != nil {
					return err
				}
				if !fresh {
					part[i] = playback.ErrStale
					continue
				}
				if err := s.change(ctx, tx, changes[from+i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			for i := range part { // nothing of this transaction was kept
				part[i] = err
			}
		}
	}
	return out
}

// fresh checks a change before anything of it is written, since a function of the group
// cannot take a part of itself back.
func (s *Store) fresh(ctx context.Context, tx *sqlitedb.Tx, c playback.PlayChange) (bool, error) {
	var rev int64
	err := tx.QueryRowContext(ctx, `SELECT revision FROM play WHERE user_id = ? AND play_id = ?`, c.Play.UserID, c.Play.ID).Scan(&rev)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	if uint64(rev)+1 != c.Play.Revision {
		return false, nil
	}
	for _, id := range c.Seen {
		var seen bool
		err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM seen_event WHERE user_id = ? AND event_id = ?)`, c.Play.UserID, id).Scan(&seen)
		if err != nil || seen {
			return false, err
		}
	}
	return true, nil
}

func (s *Store) change(ctx context.Context, tx *sqlitedb.Tx, c playback.PlayChange) error {
	state, err := json.Marshal(c.Play)
	if err != nil {
		return err
	}
	var due any
	if !c.Play.Due.IsZero() {
		due = c.Play.Due.UnixMilli()
	}
	now := s.db.Now().UnixMilli()
	_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO play (user_id, play_id, revision, due, touched, state) VALUES (?, ?, ?, ?, ?, ?)`,
		c.Play.UserID, c.Play.ID, int64(c.Play.Revision), due, now, state)
	if err != nil {
		return err
	}
	for _, id := range c.Seen {
		_, err := tx.ExecContext(ctx, `INSERT INTO seen_event (user_id, event_id, touched) VALUES (?, ?, ?)`, c.Play.UserID, id, now)
		if err != nil {
			return err
		}
	}
	return s.add(ctx, tx, c.Events)
}

// DuePlays implements [playback.Store].
func (s *Store) DuePlays(ctx context.Context, now time.Time, limit int) (list []playback.Play, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT state FROM play WHERE due <= ? ORDER BY due LIMIT ?`, now.UnixMilli(), limit)
	if err != nil {
		return nil, fmt.Errorf("list due plays: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var state []byte
		var p playback.Play
		if err := rows.Scan(&state); err != nil {
			return nil, fmt.Errorf("list due plays: %w", err)
		}
		if err := json.Unmarshal(state, &p); err != nil {
			return nil, fmt.Errorf("list due plays: %w", err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}
