package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/keyring/pgvault"
	"github.com/segue-music/segue/internal/pgdb"
)

// checkWrap refuses a wrapping key without a vault that it is for.
func (c *Config) checkWrap() error {
	if c.SecretsWrap != "" && c.Stores.Postgres.URL == "" {
		return errors.New("secrets.wrap.file needs postgres.url, where the keys lie")
	}
	return nil
}

// openRing opens the keys: in the folder of secrets, or in PostgreSQL for all processes of
// a cluster, sealed by a key that is not there.
func (p *process) openRing(ctx context.Context) (err error) {
	if p.config.SecretsWrap == "" {
		p.ring, err = keyring.Open(p.config.secrets(), p.now)
		return err
	}
	wrap, err := pgvault.ReadWrap(p.config.SecretsWrap)
	if err != nil {
		return err
	}
	schema, err := pgvault.Schema()
	if err != nil {
		return err
	}
	db, err := pgdb.Open(ctx, p.config.Stores.Postgres, schema, pgdb.Options{Log: p.log, Now: p.now, Metrics: p.metrics})
	if err != nil {
		return fmt.Errorf("open key vault: %w", err)
	}
	p.closers = append(p.closers, db.Close)
	p.ring, err = keyring.OpenVault(p.config.secrets(), pgvault.New(db, wrap), p.now)
	return err
}

// secrets is the folder of the keys.
func (c *Config) secrets() string {
	if c.Secrets != "" {
		return c.Secrets
	}
	return filepath.Clean(c.Data) + "-secrets"
}
