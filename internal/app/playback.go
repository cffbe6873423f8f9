package app

import (
	"context"
	"crypto/rand"

	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"
	"github.com/segue-music/segue/services/playback"
)

func buildPlayback(ctx context.Context, p *process) error {
	store, err := p.openPlaybackStore(ctx)
	if err != nil {
		return err
	}
	svc, err := playback.New(playback.Deps{
		Config: p.config.Playback, Store: store, Log: p.log, Now: p.now, NewID: p.newID, Metrics: p.metrics,
		Random: rand.Reader, Keys: p.ring, Events: p.events,
		Metadata:  dial(p, "playback", "metadata", metadatav1connect.NewIngestServiceClient),
		Upload:    dial(p, "playback", "upload", uploadv1connect.NewPrioritiseServiceClient),
		Endpoints: p.edges.get, Notices: p.playerNotices(),
	})
	if err != nil {
		return err
	}
	p.serve("playback", svc.Handler(p.server.Options()...))
	if err := p.relay("playback", store.Relay(p.events, p.log)); err != nil {
		return err
	}
	p.run("playback", svc.Run)
	return nil
}
