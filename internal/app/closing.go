package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/segue-music/segue/internal/diskspace"
	"github.com/segue-music/segue/internal/sqlitedb"
)

// within bounds what must not hold up the end.
func within(limit time.Duration, fn func(context.Context) error) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		return fn(ctx)
	}
}

// path is a place in the data folder.
func (p *process) path(name string) string { return filepath.Join(p.config.Data, name) }

// openFolder makes the data folder ours alone.
func (p *process) openFolder() error {
	if err := os.MkdirAll(p.config.Data, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	lock, err := sqlitedb.LockDir(p.config.Data)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, lock.Unlock)
	p.space = diskspace.New(p.config.Data, p.config.DataReserve, p.now)
	return nil
}

// close releases what open took, last first.
func (p *process) close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	p.closers = nil
	return errors.Join(errs...)
}
