package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/spool"
	"github.com/segue-music/segue/internal/diskspace"
	"github.com/segue-music/segue/internal/lifecycle"
	"github.com/segue-music/segue/internal/sqlitedb"
)

// openEvents opens the log, and tells readiness what to ask it.
func (p *process) openEvents(ctx context.Context) error {
	c := p.config.Event
	if !c.Kafka.On() {
		l, err := locallog.Open(p.path("log"), locallog.Options{OnFail: p.onLogFailure()})
		return p.useLog(l, err, nil)
	}
	client, err := c.Kafka.Options()
	if err != nil {
		return fmt.Errorf("set up event.kafka: %w", err)
	}
	connect := func(ctx context.Context) (event.Log, error) {
		l, err := kafkalog.Open(ctx, kafkalog.Options{Client: client, Prefix: c.Prefix, Replicas: int16(c.Replicas)})
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	dir := c.spoolFolder(p.path("spool"))
	if dir == "" {
		l, err := connect(ctx)
		return p.useLog(l, err, nil)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make spool folder: %w", err)
	}
	lock, err := sqlitedb.LockDir(dir)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, lock.Unlock)
	// Diagnostics and uploads leave the reserve to what cannot wait; events leave half of it
	// to the databases.
	space := diskspace.New(dir, p.config.DataReserve/2, p.now)
	l, err := spool.Open(ctx, dir, spool.Options{Connect: connect, Space: space.Check, OnFail: p.onLogFailure(), Now: p.now, Log: p.log})
	if err != nil {
		return p.useLog(nil, err, nil)
	}
	if err := p.metrics.Register(l.Metrics()); err != nil {
		return errors.Join(fmt.Errorf("register spool metrics: %w", err), l.Close())
	}
	return p.useLog(l, nil, l.Check)
}

// useLog takes a log that was opened. check is what readiness asks; nil asks the log
// itself.
func (p *process) useLog(l event.Log, err error, check func(context.Context) error) error {
	if err != nil {
		return fmt.Errorf("open event log: %w", err)
	}
	p.events, p.eventsReady = l, check
	if check == nil {
		p.eventsReady = func(ctx context.Context) error {
			_, _, err := l.Bounds(ctx, event.UserIdentity, 0)
			return err
		}
	}
	p.closers = append(p.closers, l.Close)
	return nil
}

// onLogFailure ends the process when a log on its disk cannot promise any more: see
// locallog.
func (p *process) onLogFailure() func(error) {
	fail := make(chan error, 1)
	p.group.Add(lifecycle.Component{Name: "event log", Run: func(ctx context.Context) error {
		select {
		case err := <-fail:
			return err
		case <-ctx.Done():
			return nil
		}
	}})
	return func(err error) { fail <- err }
}
