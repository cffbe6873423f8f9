package app

import (
	"context"

	"github.com/segue-music/segue/services/metadata"
	metadataring "github.com/segue-music/segue/services/metadata/cassandra"
	metadatalite "github.com/segue-music/segue/services/metadata/sqlite"
)

type metadataStore interface {
	metadata.Store
	engine
}

func (p *process) openMetadataStore(ctx context.Context) (s metadataStore, err error) {
	if c := p.config.Stores.Cassandra; c.On() {
		s, err = metadataring.Open(ctx, c, metadataring.Options{Now: p.now, Log: p.log, Metrics: p.metrics})
	} else {
		s, err = metadatalite.Open(ctx, p.path("metadata.db"), metadatalite.Options{Now: p.now, Log: p.log, Metrics: p.metrics})
	}
	if err != nil {
		return nil, err
	}
	p.needs("metadata", s)
	return s, nil
}

func buildMetadata(ctx context.Context, p *process) error {
	store, err := p.openMetadataStore(ctx)
	if err != nil {
		return err
	}
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
