package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event/outbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/row"
)

// CreateAccount implements user.Store.
func (s *Store) CreateAccount(ctx context.Context, n user.NewAccount) (user.Account, error) {
	made := n.Account
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		if n.Once == nil {
			return s.insert(ctx, tx, n)
		}
		reply, err := s.box.Once(ctx, tx, n.Once.Caller, n.Once.Key, n.Once.Request, func() ([]byte, error) {
			if err := s.insert(ctx, tx, n); err != nil {
				return nil, err
			}
			return proto.MarshalOptions{Deterministic: true}.Marshal(user.ToProto(n.Account))
		})
		if err != nil {
			return err
		}
		m := new(userv1.Account)
		if err := proto.Unmarshal(reply, m); err != nil {
			return fmt.Errorf("decode reply: %w", err)
		}
		made = user.FromProto(m)
		return nil
	})
	switch {
	case errors.Is(err, outbox.ErrKeyReused), errors.Is(err, outbox.ErrKeyMalformed):
		return user.Account{}, user.ErrIdempotency.Because(err)
	case err != nil:
		return user.Account{}, fmt.Errorf("create account: %w", err)
	}
	return made, nil
}

func (s *Store) insert(ctx context.Context, tx *sqlitedb.Tx, n user.NewAccount) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO accounts (`+row.Account+`, password_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(row.OfAccount(n.Account), n.PasswordHash)...)
	if sqlitedb.IsUnique(err) {
		return user.ErrExists
	}
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO listener_keys (user_id, id, master_id, wrapped) VALUES (?, ?, ?, ?)`,
		n.Account.ID, n.Key.ID, n.Key.MasterID, n.Key.Wrapped)
	if err != nil {
		return err
	}
	return s.add(ctx, tx, n.Events)
}

// Account implements user.Store.
func (s *Store) Account(ctx context.Context, id string) (user.Account, error) {
	a, err := scanAccount(s.db.Reader().QueryRowContext(ctx, `SELECT `+row.Account+` FROM accounts WHERE id = ?`, id))
	if err != nil {
		return user.Account{}, fmt.Errorf("read account: %w", err)
	}
	return a, nil
}

// AccountByName implements user.Store.
func (s *Store) AccountByName(ctx context.Context, username string) (user.Account, string, error) {
	var hash string
	found := s.db.Reader().QueryRowContext(ctx, `SELECT `+row.Account+`, password_hash FROM accounts WHERE username = ?`, username)
	a, err := scanAccount(found, &hash)
	if err != nil {
		return user.Account{}, "", fmt.Errorf("read account: %w", err)
	}
	return a, hash, nil
}

// PasswordHash implements user.Store.
func (s *Store) PasswordHash(ctx context.Context, id string) (string, error) {
	var hash string
	err := s.db.Reader().QueryRowContext(ctx, `SELECT password_hash FROM accounts WHERE id = ?`, id).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return "", user.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("read password hash: %w", err)
	}
	return hash, nil
}

// Accounts implements user.Store.
func (s *Store) Accounts(ctx context.Context, after string, limit int) (list []user.Account, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+row.Account+` FROM accounts WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		list = append(list, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return list, nil
}

// otherAdmins says whether an enabled admin besides id exists.
const otherAdmins = `SELECT EXISTS (SELECT 1 FROM accounts WHERE roles & ? != 0 AND disabled = 0 AND id != ?)`

// HasAdmin implements user.Store.
func (s *Store) HasAdmin(ctx context.Context) (has bool, err error) {
	if err := s.db.Reader().QueryRowContext(ctx, otherAdmins, row.AdminBit, "").Scan(&has); err != nil {
		return false, fmt.Errorf("look for an admin: %w", err)
	}
	return has, nil
}

// UpdateAccount implements user.Store.
func (s *Store) UpdateAccount(ctx context.Context, c user.Change) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		a := c.Account
		if err := s.checkRevision(ctx, tx, a.ID, a.Revision-1, a.Disabled || row.Bits(a.Roles)&row.AdminBit == 0); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE accounts SET display_name = ?, email = ?, roles = ?, market = ?, plan = ?, disabled = ?,
			explicit_allowed = ?, revision = ?, password_hash = iif(?9 = '', password_hash, ?9) WHERE id = ?`,
			a.DisplayName, a.Email, row.Bits(a.Roles), a.Market, a.Plan, a.Disabled, a.ExplicitAllowed, a.Revision, c.PasswordHash, a.ID)
		if err != nil {
			return err
		}
		if err := s.add(ctx, tx, c.Events); err != nil {
			return err
		}
		return s.endSessions(ctx, tx, a.ID, c.EndSessions)
	})
	if err != nil {
		return fmt.Errorf("update account: %w", err)
	}
	return nil
}

// checkRevision refuses a change of another revision, or one that takes the last admin.
func (s *Store) checkRevision(ctx context.Context, tx *sqlitedb.Tx, id string, revision uint64, losesAdmin bool) error {
	var stored uint64
	var roles int64
	var disabled, others bool
	err := tx.QueryRowContext(ctx, `SELECT revision, roles, disabled FROM accounts WHERE id = ?`, id).Scan(&stored, &roles, &disabled)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return user.ErrNotFound
	case err != nil:
		return err
	case stored != revision:
		return user.ErrConflict
	case !losesAdmin || roles&row.AdminBit == 0 || disabled:
		return nil
	}
	if err := tx.QueryRowContext(ctx, otherAdmins, row.AdminBit, id).Scan(&others); err != nil {
		return err
	}
	if !others {
		return user.ErrLastAdmin
	}
	return nil
}

// ReplaceHash implements user.Store.
func (s *Store) ReplaceHash(ctx context.Context, id, old, hash string) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE accounts SET password_hash = ? WHERE id = ? AND password_hash = ?`, hash, id, old)
		return err
	})
	if err != nil {
		return fmt.Errorf("replace password hash: %w", err)
	}
	return nil
}

// DeleteAccount implements user.Store. Keys, families and codes go with the account's row.
func (s *Store) DeleteAccount(ctx context.Context, id string, revision uint64, events []*eventv1.Envelope) (families []string, err error) {
	err = s.db.Write(ctx, func(tx *sqlitedb.Tx) (err error) {
		if err := s.checkRevision(ctx, tx, id, revision, true); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO deleted (user_id, deleted) VALUES (?, ?)`, id, unixtime.Milli(s.db.Now())); err != nil {
			return err
		}
		if families, err = familiesOf(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM accounts WHERE id = ?`, id); err != nil {
			return err
		}
		return s.add(ctx, tx, events)
	})
	if err != nil {
		return nil, fmt.Errorf("delete account: %w", err)
	}
	return families, nil
}

// familiesOf are the ids of an account's families, ended ones included.
func familiesOf(ctx context.Context, tx *sqlitedb.Tx, id string) (list []string, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id FROM families WHERE user_id = ?`, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var family string
		if err := rows.Scan(&family); err != nil {
			return nil, err
		}
		list = append(list, family)
	}
	return list, rows.Err()
}

// Key implements user.Store.
func (s *Store) Key(ctx context.Context, userID string) (user.ListenerKey, error) {
	k := user.ListenerKey{UserID: userID}
	err := s.db.Read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT id, master_id, wrapped FROM listener_keys WHERE user_id = ?`, userID).Scan(&k.ID, &k.MasterID, &k.Wrapped)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		var gone bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM deleted WHERE user_id = ?)`, userID).Scan(&gone); err != nil {
			return err
		}
		if gone {
			return user.ErrShredded
		}
		return user.ErrNotFound
	})
	if err != nil {
		return user.ListenerKey{}, fmt.Errorf("read listener key: %w", err)
	}
	return k, nil
}

// scanAccount is row.ScanAccount where there may be none.
func scanAccount(r row.Scanner, more ...any) (user.Account, error) {
	a, err := row.ScanAccount(r, more...)
	if errors.Is(err, sql.ErrNoRows) {
		return user.Account{}, user.ErrNotFound
	}
	return a, err
}
