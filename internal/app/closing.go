package app

import (
	"context"
	"errors"
	"path/filepath"
	"time"
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

// close releases what open took, last first.
func (p *process) close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	p.closers = nil
	return errors.Join(errs...)
}
