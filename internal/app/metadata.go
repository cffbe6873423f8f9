package app

import (
	"context"

	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/services/metadata/sqlite"
)

func buildMetadata(ctx context.Context, p *process) error {
	store, err := sqlite.Open(ctx, p.path("metadata.db"), sqlite.Options{Now: p.now, Log: p.log, Metrics: p.metrics})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, store.Close)
	p.health.Needs("metadata store", store.Ping)
	svc, err := metadata.New(metadata.Deps{
		Store: store, Blobs: p.blobs, Config: p.config.Metadata, Log: p.log, Now: p.now, NewID: p.newID, Metrics: p.metrics,
	})
	if err != nil {
		return err
	}
	p.serve("metadata", svc.Handler(p.server.Options()...))
	if err := p.relay("metadata", store.Relay(p.events, p.log)); err != nil {
		return err
	}
	p.run("metadata", svc.Run)
	return nil
}
