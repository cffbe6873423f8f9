package app

import (
	"context"
	"errors"
	"flag"
	"log/slog"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/services/playback"
	playbackring "github.com/segue-music/segue/services/playback/cassandra"
	playbacklite "github.com/segue-music/segue/services/playback/sqlite"
	"github.com/segue-music/segue/services/upload"
	uploadpg "github.com/segue-music/segue/services/upload/postgres"
	uploadlite "github.com/segue-music/segue/services/upload/sqlite"
	"github.com/segue-music/segue/services/user"
	userpg "github.com/segue-music/segue/services/user/postgres"
	userlite "github.com/segue-music/segue/services/user/sqlite"
)

// storesConfig picks the engines of the services' stores: where a database is named, the
// stores that can be are in it, and otherwise in the data folder.
type storesConfig struct {
	Postgres  pgdb.Config
	Cassandra cassandradb.Config
}

// RegisterFlags adds the settings of each database.
func (c *storesConfig) RegisterFlags(fs *flag.FlagSet) {
	c.Postgres.RegisterFlags("postgres", fs)
	c.Cassandra.RegisterFlags("cassandra", fs)
}

// Check refuses settings that cannot work.
func (c *storesConfig) Check() error { return errors.Join(c.Postgres.Check(), c.Cassandra.Check()) }

// engine is what every engine of a store has besides the store.
type engine interface {
	Ping(ctx context.Context) error
	Relay(log event.Log, logger *slog.Logger) *outbox.Relay
	Close() error
}

// needs has the process end and be ready with a store.
func (p *process) needs(name string, e engine) {
	p.closers = append(p.closers, e.Close)
	p.health.Needs(name+" store", e.Ping)
}

func (p *process) pgOptions() pgdb.Options {
	return pgdb.Options{Log: p.log, Now: p.now, Metrics: p.metrics}
}

type userStore interface {
	user.Store
	engine
}

func (p *process) openUserStore(ctx context.Context) (s userStore, err error) {
	if pg := p.config.Stores.Postgres; pg.URL != "" {
		s, err = userpg.Open(ctx, pg, p.pgOptions())
	} else {
		s, err = userlite.Open(ctx, p.path("user.db"), userlite.Options{Now: p.now, Log: p.log, Metrics: p.metrics})
	}
	if err != nil {
		return nil, err
	}
	p.needs("user", s)
	return s, nil
}

type uploadStore interface {
	upload.Store
	engine
}

func (p *process) openUploadStore(ctx context.Context) (s uploadStore, err error) {
	if pg := p.config.Stores.Postgres; pg.URL != "" {
		s, err = uploadpg.Open(ctx, pg, p.pgOptions())
	} else {
		s, err = uploadlite.Open(ctx, p.path("upload.db"), uploadlite.Options{Now: p.now, Log: p.log, Metrics: p.metrics})
	}
	if err != nil {
		return nil, err
	}
	p.needs("upload", s)
	return s, nil
}

type playbackStore interface {
	playback.Store
	engine
}

func (p *process) openPlaybackStore(ctx context.Context) (s playbackStore, err error) {
	if c := p.config.Stores.Cassandra; c.On() {
		s, err = playbackring.Open(ctx, c, playbackring.Options{Now: p.now, Log: p.log, Metrics: p.metrics})
	} else {
		s, err = playbacklite.Open(ctx, p.path("playback.db"), playbacklite.Options{Now: p.now, Log: p.log, Metrics: p.metrics})
	}
	if err != nil {
		return nil, err
	}
	p.needs("playback", s)
	return s, nil
}
