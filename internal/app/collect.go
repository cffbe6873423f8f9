package app

import (
	"context"

	"github.com/segue-music/segue/edge/collect"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
)

func buildCollect(ctx context.Context, p *process) error {
	svc, err := collect.New(collect.Deps{
		Config: p.config.Collect, Log: p.log, Now: p.now, Metrics: p.metrics, Events: p.events,
		Playback: dial(p, "collect", "playback", playbackv1connect.NewRecordServiceClient),
		Keys:     dial(p, "collect", "user", userv1connect.NewListenerKeyServiceClient), Space: p.space.Check,
	})
	if err != nil {
		return err
	}
	if err := svc.Recall(ctx); err != nil {
		// Repeats of before this start may then be there twice, with one id.
		p.log.Warn("collect", "err", err)
	}
	p.serve("collect", svc.Handler(p.server.Options()...))
	return nil
}
