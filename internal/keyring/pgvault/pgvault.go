// Package pgvault keeps the keys of a cluster in PostgreSQL, sealed by a wrapping key that
// is not there: a copy of the database alone opens nothing.
package pgvault

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/pgdb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema are the tables.
func Schema() (pgdb.Schema, error) {
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return pgdb.Schema{}, fmt.Errorf("key vault schema: %w", err)
	}
	return pgdb.Schema{Name: "keyring", Modules: []pgdb.Module{{Name: "vault", Migrations: own}}}, nil
}

// limit bounds one question: a ring that is asked by a request waits for no more, and goes
// on with the keys it knows.
const limit = 2 * time.Second

// Vault implements [keyring.Vault].
type Vault struct {
	db   *pgdb.DB
	wrap *Wrap
}

var _ keyring.Vault = (*Vault)(nil)

// New makes the vault on a database that has [Schema].
func New(db *pgdb.DB, w *Wrap) *Vault { return &Vault{db, w} }

// Load implements [keyring.Vault].
func (v *Vault) Load(p keyring.Purpose) (b []byte, version int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var sealed []byte
	err = v.db.Read(ctx, func(q pgdb.Queryer) error {
		return q.QueryRow(ctx, `SELECT version, sealed FROM vault WHERE purpose = $1`, string(p)).Scan(&version, &sealed)
	})
	if pgdb.IsNone(err) {
		return nil, 0, fs.ErrNotExist
	}
	if err != nil {
		return nil, 0, away(err)
	}
	if b, err = v.wrap.Open(sealed, name(p, version)); err != nil {
		return nil, 0, err
	}
	return b, version, nil
}

// Store implements [keyring.Vault].
func (v *Vault) Store(p keyring.Purpose, version int64, b []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	sealed, err := v.wrap.Seal(b, name(p, version+1))
	if err != nil {
		return err
	}
	var changed int64
	err = v.db.Write(ctx, func(tx *pgdb.Tx) error {
		query := `UPDATE vault SET version = $2 + 1, sealed = $3 WHERE purpose = $1 AND version = $2`
		if version == 0 {
			query = `INSERT INTO vault (purpose, version, sealed) VALUES ($1, $2 + 1, $3) ON CONFLICT DO NOTHING`
		}
		tag, err := tx.Exec(ctx, query, string(p), version, sealed)
		changed = tag.RowsAffected()
		return err
	})
	if err != nil {
		return away(err)
	}
	if changed == 0 {
		return fs.ErrExist
	}
	return nil
}

// name is what a sealed text is bound to: none can be put in the place of another.
func name(p keyring.Purpose, version int64) string {
	return fmt.Sprintf("segue key vault %s %d", p, version)
}

// away is any failure of the database: what is known goes on being used.
func away(err error) error { return fmt.Errorf("%w: %w", keyring.ErrAway, err) }
