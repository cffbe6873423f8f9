package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/diskspace"
	"github.com/segue-music/segue/internal/health"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/lifecycle"
	"github.com/segue-music/segue/internal/obs"
	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/tlscert"
	"github.com/segue-music/segue/stream/id"
)

// process is what the targets of one process share.
type process struct {
	config  Config
	version string
	stdout  io.Writer
	log     *slog.Logger
	now     func() time.Time
	newID   func() string

	health      *health.Health
	metrics     *prometheus.Registry
	metricsPage http.Handler
	profiles    http.Handler
	tracer      trace.TracerProvider

	ring        *keyring.Ring
	tokens      *rpc.Tokens
	server      *rpc.Server
	calls       *rpc.ClientMetrics
	events      event.Log
	eventsReady func(context.Context) error // says when events cannot be taken
	blobs       blob.Store
	redis       *redisdb.Client // nil where there is none
	space       *diskspace.Reserve

	group    *lifecycle.Group
	handlers map[string]http.Handler // of the targets in this process, authenticated
	outward
	edges *edges
	doors doors
	// listening are the origins of the bound gateway.
	listening atomic.Pointer[[]string]
	cert      *tlscert.Manager
	closers   []func() error
	// decoder gives the decoder of the upload target, once.
	decoder func() (*ffmpeg.Runner, error)
}

func newProcess(ctx context.Context, c Config, version string, now func() time.Time, stdout, stderr io.Writer) (*process, error) {
	log, err := c.Obs.Logger(stderr)
	if err != nil {
		return nil, err
	}
	slog.SetDefault(log) // libraries have no other way to tell
	p := &process{
		config: c, version: version, stdout: stdout, log: log, now: now,
		newID: func() string { return id.New(now(), rand.Reader).String() },
		group: lifecycle.New(log), handlers: map[string]http.Handler{}, health: health.New(now),
	}
	p.edges = &edges{ask: p.askEdges, now: now}
	if c.runs("upload") {
		p.decoder = tryDecoder(ctx, c.Upload)
	}
	if err := p.open(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// open opens what every target uses, in the order in which it closes last.
func (p *process) open(ctx context.Context) (err error) {
	c := p.config
	if err := p.openFolder(); err != nil {
		return err
	}
	p.metrics, p.metricsPage = obs.Metrics(p.version)
	tracer, flush, err := c.Obs.Tracer(ctx, c.Target, p.version)
	if err != nil {
		return err
	}
	p.tracer = tracer
	p.closers = append(p.closers, within(3*time.Second, flush))
	if err := p.openRing(ctx); err != nil {
		return err
	}
	p.tokens = rpc.NewTokens(p.ring, p.now)
	p.server, err = rpc.NewServer(rpc.ServerDeps{Tokens: p.tokens, Log: p.log, Metrics: p.metrics, Tracer: p.tracer, Now: p.now})
	if err != nil {
		return fmt.Errorf("set up calls: %w", err)
	}
	if err := p.openRemotes(); err != nil {
		return err
	}
	for _, open := range []func(context.Context) error{p.openBlobs, p.openEvents, p.openRedis} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	return p.meter()
}
