package app

import (
	"context"
	"time"

	"github.com/segue-music/segue/event/listenerkeys"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
)

// listenerKeyFresh is how long the warehouse may show what a deleted listener's key opens.
const listenerKeyFresh = time.Minute

func buildWarehouse(ctx context.Context, p *process) error {
	store, err := lake.Open(ctx, p.blobs, lake.Options{Now: p.now, Log: p.log})
	if err != nil {
		return err
	}
	keys := dial(p, "warehouse", "user", userv1connect.NewListenerKeyServiceClient)
	svc, err := warehouse.New(warehouse.Deps{
		Config: p.config.Warehouse, Store: store, Events: p.events,
		PersonalKeys: listenerkeys.New(keys, listenerKeyFresh, p.now),
		Log:          p.log, Now: p.now, Metrics: p.metrics, Tracer: p.tracer,
	})
	if err != nil {
		return err
	}
	p.serve("warehouse", svc.Handler(p.server.Options()...))
	p.run("warehouse", svc.Run)
	return nil
}
