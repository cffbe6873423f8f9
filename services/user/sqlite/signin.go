package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/row"
)

// AddCode implements user.Store.
func (s *Store) AddCode(ctx context.Context, c user.Code, events []*eventv1.Envelope) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO codes (`+row.Code+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, row.OfCode(c)...)
		if sqlitedb.IsForeignKey(err) {
			return user.ErrNotFound
		}
		if err != nil {
			return err
		}
		return s.add(ctx, tx, events)
	})
	if err != nil {
		return fmt.Errorf("add code: %w", err)
	}
	return nil
}

// Code implements user.Store.
func (s *Store) Code(ctx context.Context, hash [32]byte) (user.Code, error) {
	c, err := row.ScanCode(s.db.Reader().QueryRowContext(ctx, `SELECT `+row.Code+` FROM codes WHERE hash = ?`, hash[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return user.Code{}, user.ErrNoCode
	}
	if err != nil {
		return user.Code{}, fmt.Errorf("read code: %w", err)
	}
	return c, nil
}

// Redeem implements user.Store.
func (s *Store) Redeem(ctx context.Context, hash [32]byte, f user.Family) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		var redeemed bool
		err := tx.QueryRowContext(ctx, `SELECT redeemed FROM codes WHERE hash = ?`, hash[:]).Scan(&redeemed)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return user.ErrNoCode
		case err != nil:
			return err
		case redeemed:
			return user.ErrCodeRedeemed
		}
		if _, err := tx.ExecContext(ctx, `UPDATE codes SET redeemed = 1 WHERE hash = ?`, hash[:]); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO families (`+row.Family+`)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, row.OfFamily(f)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("redeem code: %w", err)
	}
	return nil
}

// Family implements user.Store.
func (s *Store) Family(ctx context.Context, id string) (user.Family, error) {
	f, err := scanFamily(s.db.Reader().QueryRowContext(ctx, `SELECT `+row.Family+` FROM families WHERE id = ?`, id))
	if err != nil {
		return user.Family{}, fmt.Errorf("read session: %w", err)
	}
	return f, nil
}

// Families implements user.Store.
func (s *Store) Families(ctx context.Context, userID string, now time.Time) (list []user.Family, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+row.Family+` FROM families
		WHERE user_id = ? AND revoked = 0 AND expires > ? ORDER BY created DESC, id DESC`, userID, unixtime.Milli(now))
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		f, err := scanFamily(rows)
		if err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		list = append(list, f)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return list, nil
}

// UpdateFamily implements user.Store.
func (s *Store) UpdateFamily(ctx context.Context, f user.Family, events []*eventv1.Envelope) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		if err := updateFamily(ctx, tx, f); err != nil {
			return err
		}
		return s.add(ctx, tx, events)
	})
	if err != nil {
		return fmt.Errorf("update session: %w", err)
	}
	return nil
}

func updateFamily(ctx context.Context, tx *sqlitedb.Tx, f user.Family) error {
	var stored uint64
	err := tx.QueryRowContext(ctx, `SELECT revision FROM families WHERE id = ?`, f.ID).Scan(&stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return user.ErrNoSession
	case err != nil:
		return err
	case stored+1 != f.Revision:
		return user.ErrSession
	}
	_, err = tx.ExecContext(ctx, `UPDATE families SET used = ?, generation = ?, key_id = ?, current = ?, previous = ?, rotated = ?,
		revoked = ?, reason = ?, user_agent = ?, revision = ? WHERE id = ?`,
		unixtime.Milli(f.Used), f.Generation, f.KeyID, f.Current[:], f.Previous[:], unixtime.Milli(f.Rotated), unixtime.Milli(f.Revoked), f.Reason,
		f.UserAgent, f.Revision, f.ID)
	return err
}

// endSessions revokes the families of an account but one.
func (s *Store) endSessions(ctx context.Context, tx *sqlitedb.Tx, userID string, e *user.EndSessions) error {
	if e == nil {
		return nil
	}
	rows, err := tx.QueryContext(ctx, `SELECT `+row.Family+` FROM families WHERE user_id = ? AND revoked = 0 AND id != ? ORDER BY id`, userID, e.Keep)
	if err != nil {
		return err
	}
	var list []user.Family
	for rows.Next() {
		f, err := scanFamily(rows)
		if err != nil {
			return errors.Join(err, rows.Close()) //nolint:sqlclosecheck // closed ahead of the updates below
		}
		list = append(list, f)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	now := s.db.Now()
	for _, f := range list {
		f.Revoked, f.Reason, f.Revision = now, e.Reason, f.Revision+1
		if err := updateFamily(ctx, tx, f); err != nil {
			return err
		}
		ev, err := e.Event(f)
		if err != nil {
			return err
		}
		if err := s.add(ctx, tx, []*eventv1.Envelope{ev}); err != nil {
			return err
		}
	}
	// A code that was not redeemed yet would begin a session after all were ended.
	_, err = tx.ExecContext(ctx, `DELETE FROM codes WHERE user_id = ? AND redeemed = 0`, userID)
	return err
}

// scanFamily is row.ScanFamily where there may be none.
func scanFamily(r row.Scanner) (user.Family, error) {
	f, err := row.ScanFamily(r)
	if errors.Is(err, sql.ErrNoRows) {
		return user.Family{}, user.ErrNoSession
	}
	return f, err
}
