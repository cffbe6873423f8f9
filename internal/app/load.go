package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/metadata"
	metadataring "github.com/segue-music/segue/services/metadata/cassandra"
	metadatalite "github.com/segue-music/segue/services/metadata/sqlite"
)

// loadOnly is the target that runs no service: it fills the empty catalogue in Cassandra
// with that of a data folder and ends.
const loadOnly = "load"

type loadConfig struct{ Catalogue string }

func (c *loadConfig) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Catalogue, prefix+".catalogue", "", "metadata.db of the data folder, of which no process may have hold, whose catalogue -target=load copies into the empty one in Cassandra")
}

var (
	errNothingToLoad = errors.New("-target=load needs load.catalogue and cassandra.hosts")
	errUnpublished   = errors.New("events of the catalogue are not published yet: start the server of this data folder once more, wait until segue_outbox_pending_events is 0, and stop it")
)

// runLoad is the whole run of the target load.
func (c *Config) runLoad(ctx context.Context, stderr io.Writer) error {
	log, err := c.Obs.Logger(stderr)
	if err != nil {
		return err
	}
	if err := loadCatalogue(ctx, c, log); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return nil
}

func loadCatalogue(ctx context.Context, c *Config, log *slog.Logger) (err error) {
	path := c.Load.Catalogue
	if path == "" || !c.Stores.Cassandra.On() {
		return errNothingToLoad
	}
	if _, err := os.Stat(path); err != nil {
		return err // opening it would make it
	}
	lock, err := sqlitedb.LockDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	from, err := metadatalite.Open(ctx, path, metadatalite.Options{Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	waiting, err := from.Pending(ctx)
	if err != nil {
		return err
	}
	if waiting > 0 {
		return fmt.Errorf("%d %w", waiting, errUnpublished)
	}
	err = from.Dump(ctx, func(d metadata.Dump) error {
		return metadataring.Load(ctx, c.Stores.Cassandra, d, metadataring.Options{Log: log})
	})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "the catalogue is in Cassandra", "from", path)
	return nil
}
