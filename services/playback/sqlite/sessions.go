package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/playback"
)

const sessionColumns = `user_id, session_id, device_id, login_id, key_hash, key_id, epoch, opened, renewed`

// PutSession implements [playback.Store].
func (s *Store) PutSession(ctx context.Context, v playback.Session, keep int, events ...playback.Event) error {
	return s.write(ctx, "put session", func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO session (`+sessionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			v.UserID, v.ID, v.DeviceID, v.LoginID, v.KeyHash[:], v.KeyID, int64(v.Epoch), v.Opened.UnixMilli(), v.Renewed.UnixMilli())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM session WHERE user_id = ?1 AND session_id IN
			(SELECT session_id FROM session WHERE user_id = ?1 ORDER BY renewed DESC, session_id DESC LIMIT -1 OFFSET ?2)`, v.UserID, keep)
		if err != nil {
			return err
		}
		return s.add(ctx, tx, events)
	})
}

type scanner interface{ Scan(...any) error }

func scanSession(row scanner) (v playback.Session, err error) {
	var hash []byte
	var epoch, opened, renewed int64
	err = row.Scan(&v.UserID, &v.ID, &v.DeviceID, &v.LoginID, &hash, &v.KeyID, &epoch, &opened, &renewed)
	if err != nil {
		return playback.Session{}, err
	}
	if len(hash) != len(v.KeyHash) {
		return playback.Session{}, fmt.Errorf("session %s: key hash of %d bytes", v.ID, len(hash))
	}
	v.KeyHash, v.Epoch = [32]byte(hash), uint64(epoch)
	v.Opened, v.Renewed = fromMS(opened), fromMS(renewed)
	return v, nil
}

// Session implements [playback.Store].
func (s *Store) Session(ctx context.Context, userID, sessionID string) (playback.Session, error) {
	v, err := scanSession(s.db.Reader().QueryRowContext(ctx,
		`SELECT `+sessionColumns+` FROM session WHERE user_id = ? AND session_id = ?`, userID, sessionID))
	if errors.Is(err, sql.ErrNoRows) {
		err = playback.ErrAbsent
	}
	if err != nil {
		return playback.Session{}, fmt.Errorf("read session: %w", err)
	}
	return v, nil
}

// Sessions implements [playback.Store].
func (s *Store) Sessions(ctx context.Context, userID string) (list []playback.Session, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+sessionColumns+` FROM session WHERE user_id = ?`, userID)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scanSession(rows)
		if err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// RenewSession implements [playback.Store].
func (s *Store) RenewSession(ctx context.Context, userID, sessionID string, at time.Time) error {
	return s.write(ctx, "renew session", func(tx *sqlitedb.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE session SET renewed = max(renewed, ?) WHERE user_id = ? AND session_id = ?`,
			at.UnixMilli(), userID, sessionID)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, playback.ErrAbsent)
		}
		return nil
	})
}

// EndSessions implements [playback.Store].
func (s *Store) EndSessions(ctx context.Context, userID, loginID string) error {
	return s.write(ctx, "end sessions", func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM session WHERE user_id = ?1 AND (?2 = '' OR login_id = ?2)`, userID, loginID)
		return err
	})
}
