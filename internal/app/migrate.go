package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/keyring/pgvault"
	"github.com/segue-music/segue/internal/pgdb"
	chartspg "github.com/segue-music/segue/services/charts/postgres"
	metadataring "github.com/segue-music/segue/services/metadata/cassandra"
	playbackring "github.com/segue-music/segue/services/playback/cassandra"
	uploadpg "github.com/segue-music/segue/services/upload/postgres"
	userpg "github.com/segue-music/segue/services/user/postgres"
)

// migrateOnly is the target that runs no service: it brings the databases forward to what
// this program works with and ends. Who serves from them only checks that they are. What
// is in the data folder is brought forward by whoever opens it.
const migrateOnly = "migrate"

var errNothingToMigrate = errors.New("no database is set: there is nothing to migrate")

func migrate(ctx context.Context, c storesConfig, log *slog.Logger) error {
	if c.Postgres.URL == "" && !c.Cassandra.On() {
		return errNothingToMigrate
	}
	return errors.Join(migratePostgres(ctx, c, log), migrateCassandra(ctx, c, log))
}

func migratePostgres(ctx context.Context, c storesConfig, log *slog.Logger) error {
	if c.Postgres.URL == "" {
		return nil
	}
	for _, schema := range []func() (pgdb.Schema, error){pgvault.Schema, userpg.Schema, uploadpg.Schema, chartspg.Schema} {
		s, err := schema()
		if err != nil {
			return err
		}
		if err := pgdb.Migrate(ctx, c.Postgres, s, log); err != nil {
			return err
		}
		log.InfoContext(ctx, "the schema is what this program works with", "schema", s.Name)
	}
	return nil
}

func migrateCassandra(ctx context.Context, c storesConfig, log *slog.Logger) error {
	if !c.Cassandra.On() {
		return nil
	}
	for _, schema := range []func() (cassandradb.Schema, error){metadataring.Schema, playbackring.Schema} {
		s, err := schema()
		if err != nil {
			return err
		}
		if err := cassandradb.Migrate(ctx, c.Cassandra, s, log); err != nil {
			return err
		}
		log.InfoContext(ctx, "the schema is what this program works with", "schema", s.Name)
	}
	return nil
}

// runMigrate is the whole run of the target migrate.
func (c *Config) runMigrate(ctx context.Context, stderr io.Writer) error {
	log, err := c.Obs.Logger(stderr)
	if err != nil {
		return err
	}
	if err := migrate(ctx, c.Stores, log); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
