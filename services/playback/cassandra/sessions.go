package cassandra

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/segue-music/segue/event/outbox/cassandrabox"
	"github.com/segue-music/segue/services/playback"
)

// PutSession implements [playback.Store].
func (s *Store) PutSession(ctx context.Context, v playback.Session, keep int, events ...playback.Event) error {
	state, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("put session: %w", err)
	}
	return s.write(ctx, "put session", v.UserID, func(c *cassandrabox.Change) error {
		all, err := s.Sessions(ctx, v.UserID)
		if err != nil {
			return err
		}
		all = append(slices.DeleteFunc(all, func(o playback.Session) bool { return o.ID == v.ID }), v)
		slices.SortFunc(all, func(a, b playback.Session) int {
			return cmp.Or(b.Renewed.Compare(a.Renewed), cmp.Compare(b.ID, a.ID))
		})
		kept := all[:min(keep, len(all))]
		// What is deleted and written in one batch is deleted, so each row is in it once.
		for _, o := range all[len(kept):] {
			deleteRow(c, "session", o.ID)
		}
		if slices.ContainsFunc(kept, func(o playback.Session) bool { return o.ID == v.ID }) {
			c.Do(`INSERT INTO listener (user_id, kind, id, state, touched) VALUES (?, 'session', ?, ?, ?)`, v.UserID, v.ID, state, v.Renewed.UnixMilli())
			if err := s.list(ctx, c, s.sessions, "sessions_at", v.Renewed.UnixMilli()); err != nil {
				return err
			}
		}
		return s.add(ctx, c, events)
	})
}

func deleteRow(c *cassandrabox.Change, kind, id string) {
	c.Do(`DELETE FROM listener WHERE user_id = ? AND kind = ? AND id = ?`, c.Key, kind, id)
}

func readSession(state []byte, renewed int64) (v playback.Session, err error) {
	if err := json.Unmarshal(state, &v); err != nil {
		return playback.Session{}, err
	}
	v.Renewed = fromMS(renewed)
	return v, nil
}

// Session implements [playback.Store].
func (s *Store) Session(ctx context.Context, userID, sessionID string) (v playback.Session, err error) {
	var state []byte
	var renewed int64
	found, err := s.db.Get(ctx, `SELECT state, touched FROM listener WHERE user_id = ? AND kind = 'session' AND id = ?`,
		[]any{userID, sessionID}, &state, &renewed)
	switch {
	case err == nil && !found:
		err = playback.ErrAbsent
	case err == nil:
		v, err = readSession(state, renewed)
	}
	if err != nil {
		return playback.Session{}, fmt.Errorf("read session: %w", err)
	}
	return v, nil
}

// Sessions implements [playback.Store].
func (s *Store) Sessions(ctx context.Context, userID string) (list []playback.Session, err error) {
	var state []byte
	var renewed int64
	err = s.db.Each(ctx, `SELECT state, touched FROM listener WHERE user_id = ? AND kind = 'session'`,
		[]any{userID}, []any{&state, &renewed}, func() (bool, error) {
			v, err := readSession(state, renewed)
			list = append(list, v)
			return true, err
		})
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return list, nil
}

// RenewSession implements [playback.Store].
func (s *Store) RenewSession(ctx context.Context, userID, sessionID string, at time.Time) error {
	return s.write(ctx, "renew session", userID, func(c *cassandrabox.Change) error {
		v, err := s.Session(ctx, userID, sessionID)
		if err != nil || !at.After(v.Renewed) {
			return err
		}
		c.Do(`UPDATE listener SET touched = ? WHERE user_id = ? AND kind = 'session' AND id = ?`, at.UnixMilli(), userID, sessionID)
		return nil
	})
}

// EndSessions implements [playback.Store].
func (s *Store) EndSessions(ctx context.Context, userID, loginID string) error {
	return s.write(ctx, "end sessions", userID, func(c *cassandrabox.Change) error {
		all, err := s.Sessions(ctx, userID)
		if err != nil {
			return err
		}
		for _, v := range all {
			if loginID == "" || v.LoginID == loginID {
				deleteRow(c, "session", v.ID)
			}
		}
		return nil
	})
}
