package app

import (
	"context"

	"github.com/segue-music/segue/services/charts"
	chartspg "github.com/segue-music/segue/services/charts/postgres"
	chartslite "github.com/segue-music/segue/services/charts/sqlite"
)

type chartsStore interface {
	charts.Store
	Ping(ctx context.Context) error
	Close() error
}

func (p *process) openChartsStore(ctx context.Context) (s chartsStore, err error) {
	if pg := p.config.Stores.Postgres; pg.URL != "" {
		s, err = chartspg.Open(ctx, pg, p.pgOptions())
	} else {
		s, err = chartslite.Open(ctx, p.path("charts.db"), chartslite.Options{Now: p.now, Log: p.log, Metrics: p.metrics})
	}
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, s.Close)
	p.health.Needs("charts store", s.Ping)
	return s, nil
}

func buildCharts(ctx context.Context, p *process) error {
	store, err := p.openChartsStore(ctx)
	if err != nil {
		return err
	}
	svc, err := charts.New(charts.Deps{
		Config: p.config.Charts, Store: store, Events: p.events, Blobs: p.blobs, Log: p.log, Now: p.now, Metrics: p.metrics,
	})
	if err != nil {
		return err
	}
	p.serve("charts", svc.Handler(p.server.Options()...))
	p.run("charts", svc.Run)
	return nil
}
