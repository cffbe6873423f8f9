package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event/outbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/row"
)

// CreateAccount implements user.Store.
func (s *Store) CreateAccount(ctx context.Context, n user.NewAccount) (user.Account, error) {
	made := n.Account
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
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

func (s *Store) insert(ctx context.Context, tx *pgdb.Tx, n user.NewAccount) error {
	_, err := tx.Exec(ctx, `INSERT INTO accounts (`+row.Account+`, password_hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, append(row.OfAccount(n.Account), n.PasswordHash)...)
	if pgdb.IsUnique(err) {
		return user.ErrExists
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO listener_keys (user_id, id, master_id, wrapped) VALUES ($1, $2, $3, $4)`,
		n.Account.ID, n.Key.ID, n.Key.MasterID, n.Key.Wrapped)
	if err != nil {
		return err
	}
	return s.add(ctx, tx, n.Events)
}

// one reads a row by its key; none is what is said where there is none.
func (s *Store) one(ctx context.Context, none error, scan func(row.Scanner) error, query string, args ...any) error {
	err := s.db.Read(ctx, func(q pgdb.Queryer) error { return scan(q.QueryRow(ctx, query, args...)) })
	if pgdb.IsNone(err) {
		return none
	}
	return err
}

// Account implements user.Store.
func (s *Store) Account(ctx context.Context, id string) (a user.Account, err error) {
	err = s.one(ctx, user.ErrNotFound, func(r row.Scanner) (err error) { a, err = row.ScanAccount(r); return err },
		`SELECT `+row.Account+` FROM accounts WHERE id = $1`, id)
	if err != nil {
		return user.Account{}, fmt.Errorf("read account: %w", err)
	}
	return a, nil
}

// AccountByName implements user.Store.
func (s *Store) AccountByName(ctx context.Context, username string) (a user.Account, hash string, err error) {
	err = s.one(ctx, user.ErrNotFound, func(r row.Scanner) (err error) { a, err = row.ScanAccount(r, &hash); return err },
		`SELECT `+row.Account+`, password_hash FROM accounts WHERE username = $1`, username)
	if err != nil {
		return user.Account{}, "", fmt.Errorf("read account: %w", err)
	}
	return a, hash, nil
}

// PasswordHash implements user.Store.
func (s *Store) PasswordHash(ctx context.Context, id string) (hash string, err error) {
	err = s.one(ctx, user.ErrNotFound, func(r row.Scanner) error { return r.Scan(&hash) },
		`SELECT password_hash FROM accounts WHERE id = $1`, id)
	if err != nil {
		return "", fmt.Errorf("read password hash: %w", err)
	}
	return hash, nil
}

const listAccounts = `SELECT ` + row.Account + ` FROM accounts WHERE id > $1 ORDER BY id LIMIT $2`

// Accounts implements user.Store.
func (s *Store) Accounts(ctx context.Context, after string, limit int) (list []user.Account, err error) {
	err = s.db.Read(ctx, func(q pgdb.Queryer) error {
		rows, err := q.Query(ctx, listAccounts, after, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (user.Account, error) { return row.ScanAccount(r) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return list, nil
}

// otherAdmins says whether an enabled admin besides id exists. Its bit is written out as
// in the index.
const otherAdmins = `SELECT EXISTS (SELECT 1 FROM accounts WHERE roles & 16 <> 0 AND NOT disabled AND id <> $1)`

// HasAdmin implements user.Store.
func (s *Store) HasAdmin(ctx context.Context) (has bool, err error) {
	err = s.db.Read(ctx, func(q pgdb.Queryer) error { return q.QueryRow(ctx, otherAdmins, "").Scan(&has) })
	if err != nil {
		return false, fmt.Errorf("look for an admin: %w", err)
	}
	return has, nil
}

// UpdateAccount implements user.Store.
func (s *Store) UpdateAccount(ctx context.Context, c user.Change) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		a := c.Account
		if err := s.checkRevision(ctx, tx, a.ID, a.Revision-1, a.Disabled || row.Bits(a.Roles)&row.AdminBit == 0); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE accounts SET display_name = $2, email = $3, roles = $4, market = $5, plan = $6, disabled = $7,
			explicit_allowed = $8, revision = $9, password_hash = CASE WHEN $10::text = '' THEN password_hash ELSE $10 END WHERE id = $1`,
			a.ID, a.DisplayName, a.Email, row.Bits(a.Roles), a.Market, a.Plan, a.Disabled, a.ExplicitAllowed, a.Revision, c.PasswordHash)
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

// checkRevision locks an account, and refuses a change of another revision, or one that
// takes the last admin.
func (s *Store) checkRevision(ctx context.Context, tx *pgdb.Tx, id string, revision uint64, losesAdmin bool) error {
	admin, err := locked(ctx, tx, id, revision, "")
	if err != nil {
		return err
	}
	if losesAdmin && admin {
		// Ahead of the account's lock, so that two that go for each other wait here. A state
		// with the same revision is the same state: admin still holds below.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, $2)`, pgdb.LockAdmins, pgdb.LockKey("user")); err != nil {
			return err
		}
	}
	if _, err := locked(ctx, tx, id, revision, " FOR NO KEY UPDATE"); err != nil || !losesAdmin || !admin {
		return err
	}
	var others bool
	if err := tx.QueryRow(ctx, otherAdmins, id).Scan(&others); err != nil {
		return err
	}
	if !others {
		return user.ErrLastAdmin
	}
	return nil
}

// locked looks at an account of a revision, and locks it where lock says so.
func locked(ctx context.Context, tx *pgdb.Tx, id string, revision uint64, lock string) (admin bool, err error) {
	var stored uint64
	err = tx.QueryRow(ctx, `SELECT revision, roles & 16 <> 0 AND NOT disabled FROM accounts WHERE id = $1`+lock, id).Scan(&stored, &admin)
	switch {
	case pgdb.IsNone(err):
		return false, user.ErrNotFound
	case err == nil && stored != revision:
		return false, user.ErrConflict
	}
	return admin, err
}

// ReplaceHash implements user.Store.
func (s *Store) ReplaceHash(ctx context.Context, id, old, hash string) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE accounts SET password_hash = $3 WHERE id = $1 AND password_hash = $2`, id, old, hash)
		return err
	})
	if err != nil {
		return fmt.Errorf("replace password hash: %w", err)
	}
	return nil
}

// DeleteAccount implements user.Store. Keys, families and codes go with the account's row.
func (s *Store) DeleteAccount(ctx context.Context, id string, revision uint64, events []*eventv1.Envelope) (families []string, err error) {
	err = s.db.Write(ctx, func(tx *pgdb.Tx) error {
		if err := s.checkRevision(ctx, tx, id, revision, true); err != nil {
			return err
		}
		// Against families that begin meanwhile: their account's row is theirs to share.
		if _, err := tx.Exec(ctx, `SELECT 1 FROM accounts WHERE id = $1 FOR UPDATE`, id); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `DELETE FROM families WHERE user_id = $1 RETURNING id`, id)
		if err != nil {
			return err
		}
		if families, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(`INSERT INTO deleted (user_id, deleted) VALUES ($1, $2) ON CONFLICT DO NOTHING`, id, unixtime.Milli(s.db.Now()))
		b.Queue(`DELETE FROM accounts WHERE id = $1`, id)
		if err := tx.Batch(ctx, &b); err != nil {
			return err
		}
		return s.add(ctx, tx, events)
	})
	if err != nil {
		return nil, fmt.Errorf("delete account: %w", err)
	}
	return families, nil
}

// Key implements user.Store: of one row there are two, the key's and that of its account's
// end, so that both are of the same moment.
func (s *Store) Key(ctx context.Context, userID string) (user.ListenerKey, error) {
	k := user.ListenerKey{UserID: userID}
	var gone bool
	err := s.one(ctx, user.ErrNotFound, func(r row.Scanner) error { return r.Scan(&k.ID, &k.MasterID, &k.Wrapped, &gone) },
		`SELECT id, master_id, wrapped, false FROM listener_keys WHERE user_id = $1
		UNION ALL SELECT '', 0, '', true FROM deleted WHERE user_id = $1 LIMIT 1`, userID)
	if err == nil && gone {
		err = user.ErrShredded
	}
	if err != nil {
		return user.ListenerKey{}, fmt.Errorf("read listener key: %w", err)
	}
	return k, nil
}
