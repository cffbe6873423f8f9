package app

import (
	"context"
	"fmt"
	"net/url"

	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/cacheblob"
	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/internal/lifecycle"
)

// checkBlobURL refuses a bucket of a kind that is not known.
func checkBlobURL(at string) error {
	if u, err := url.Parse(at); at != "" && (err != nil || u.Host == "" || u.Scheme != "s3" && u.Scheme != "gs") {
		return fmt.Errorf("blob.url %q is no s3:// or gs:// URL", at)
	}
	return nil
}

func (p *process) openBlobs(ctx context.Context) error {
	if at := p.config.Blob; at != "" {
		s, err := cloudblob.Open(ctx, at)
		if err != nil {
			return fmt.Errorf("open objects: %w", err)
		}
		p.blobs = blob.Traced(s)
		p.closers = append(p.closers, s.Close)
		return nil
	}
	s, err := localblob.Open(p.path("blobs"))
	if err != nil {
		return fmt.Errorf("open objects: %w", err)
	}
	p.blobs = blob.Traced(s)
	p.closers = append(p.closers, s.Close)
	return nil
}

// nearBlobs are the objects for an edge: those of a bucket are kept on the disk as they
// are read.
func (p *process) nearBlobs() (blob.Store, error) {
	if p.config.Blob == "" || p.config.BlobCache == 0 {
		return p.blobs, nil
	}
	s, err := cacheblob.Open(p.path("near"), p.blobs, cacheblob.Options{
		Prefix: "objects/", MaxBytes: p.config.BlobCache, Log: p.log, Now: p.now, Metrics: p.metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("open objects near: %w", err)
	}
	p.closers = append(p.closers, s.Close)
	return s, nil
}

// relay publishes a store's events for as long as the process runs, and tells how many wait.
func (p *process) relay(name string, r *outbox.Relay) error {
	if err := p.metrics.Register(r.Metrics()); err != nil {
		return fmt.Errorf("register metrics of the %s outbox: %w", name, err)
	}
	r.Trace(p.tracer)
	p.group.Add(lifecycle.Component{Name: name + " relay", Run: r.Run})
	return nil
}

// run adds a service's background work.
func (p *process) run(name string, work func(context.Context) error) {
	p.group.Add(lifecycle.Component{Name: name, Run: work})
}
