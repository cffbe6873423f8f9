package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/segue-music/segue/event/logmetrics"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/obs"
	"github.com/segue-music/segue/internal/rpc"
)

// meter registers the figures of the process as a whole, and what it cannot work without.
func (p *process) meter() error {
	p.profiles = obs.Profiles()
	log, err := logmetrics.New(p.events, p.metrics, p.now)
	if err != nil {
		return err
	}
	p.events = log
	if p.calls, err = rpc.NewClientMetrics(p.metrics); err != nil {
		return fmt.Errorf("register call metrics: %w", err)
	}
	p.health.Needs("event log", p.eventsReady)
	p.health.Needs("objects", func(ctx context.Context) error { return askBlobs(ctx, p.blobs) })
	p.health.Needs("keys", func(context.Context) error {
		_, err := p.ring.Keys(keyring.RPC)
		return err
	})
	for _, c := range append(obs.Machine(p.config.Data, p.now), p.health.Metrics(), p.ring.Metrics()) {
		if err := p.metrics.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// askBlobs asks for an object that nobody has: that there is none is an answer.
func askBlobs(ctx context.Context, s blob.Store) error {
	if _, err := s.Stat(ctx, "health"); err != nil && !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	return nil
}
