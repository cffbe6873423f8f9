package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/row"
)

// AddCode implements user.Store.
func (s *Store) AddCode(ctx context.Context, c user.Code, events []*eventv1.Envelope) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO codes (`+row.Code+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, row.OfCode(c)...)
		if pgdb.IsForeignKey(err) {
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
func (s *Store) Code(ctx context.Context, hash [32]byte) (c user.Code, err error) {
	err = s.one(ctx, user.ErrNoCode, func(r row.Scanner) (err error) { c, err = row.ScanCode(r); return err },
		`SELECT `+row.Code+` FROM codes WHERE hash = $1`, hash[:])
	if err != nil {
		return user.Code{}, fmt.Errorf("read code: %w", err)
	}
	return c, nil
}

// Redeem implements user.Store.
func (s *Store) Redeem(ctx context.Context, hash [32]byte, f user.Family) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		var redeemed bool
		err := tx.QueryRow(ctx, `SELECT redeemed FROM codes WHERE hash = $1 FOR UPDATE`, hash[:]).Scan(&redeemed)
		switch {
		case pgdb.IsNone(err):
			return user.ErrNoCode
		case err != nil:
			return err
		case redeemed:
			return user.ErrCodeRedeemed
		}
		var b pgx.Batch
		b.Queue(`UPDATE codes SET redeemed = true WHERE hash = $1`, hash[:])
		b.Queue(`INSERT INTO families (`+row.Family+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`, row.OfFamily(f)...)
		return tx.Batch(ctx, &b)
	})
	if err != nil {
		return fmt.Errorf("redeem code: %w", err)
	}
	return nil
}

// Family implements user.Store.
func (s *Store) Family(ctx context.Context, id string) (f user.Family, err error) {
	err = s.one(ctx, user.ErrNoSession, func(r row.Scanner) (err error) { f, err = row.ScanFamily(r); return err },
		`SELECT `+row.Family+` FROM families WHERE id = $1`, id)
	if err != nil {
		return user.Family{}, fmt.Errorf("read session: %w", err)
	}
	return f, nil
}

const listFamilies = `SELECT ` + row.Family + ` FROM families WHERE user_id = $1 AND revoked = 0 AND expires > $2 ORDER BY created DESC, id DESC`

// Families implements user.Store.
func (s *Store) Families(ctx context.Context, userID string, now time.Time) (list []user.Family, err error) {
	err = s.db.Read(ctx, func(q pgdb.Queryer) error {
		list, err = queryFamilies(ctx, q, listFamilies, userID, unixtime.Milli(now))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return list, nil
}

func queryFamilies(ctx context.Context, q pgdb.Queryer, query string, args ...any) ([]user.Family, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (user.Family, error) { return row.ScanFamily(r) })
}

// UpdateFamily implements user.Store.
func (s *Store) UpdateFamily(ctx context.Context, f user.Family, events []*eventv1.Envelope) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
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

// updateFamily is a compare-and-set, which locks the family for the rest of tx.
func updateFamily(ctx context.Context, tx *pgdb.Tx, f user.Family) error {
	tag, err := tx.Exec(ctx, `UPDATE families SET used = $2, generation = $3, key_id = $4, current = $5, previous = $6, rotated = $7,
		revoked = $8, reason = $9, user_agent = $10, revision = $11::bigint WHERE id = $1 AND revision = $11::bigint - 1`,
		f.ID, unixtime.Milli(f.Used), f.Generation, f.KeyID, f.Current[:], f.Previous[:], unixtime.Milli(f.Rotated),
		unixtime.Milli(f.Revoked), f.Reason, f.UserAgent, f.Revision)
	if err != nil || tag.RowsAffected() == 1 {
		return err
	}
	var there bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM families WHERE id = $1)`, f.ID).Scan(&there); err != nil {
		return err
	}
	if there {
		return user.ErrSession
	}
	return user.ErrNoSession
}

// endSessions revokes the families of an account but one.
func (s *Store) endSessions(ctx context.Context, tx *pgdb.Tx, userID string, e *user.EndSessions) error {
	if e == nil {
		return nil
	}
	// A code that was not redeemed yet would begin a session after all were ended. The codes
	// go first: that waits for one that is being redeemed, whose family is then seen below.
	if _, err := tx.Exec(ctx, `DELETE FROM codes WHERE user_id = $1 AND NOT redeemed`, userID); err != nil {
		return err
	}
	list, err := queryFamilies(ctx, tx, `SELECT `+row.Family+` FROM families WHERE user_id = $1 AND revoked = 0 AND id <> $2
		ORDER BY id FOR UPDATE`, userID, e.Keep)
	if err != nil {
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
	return nil
}
