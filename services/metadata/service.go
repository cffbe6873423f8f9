package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/internal/blob"
)

// Deps are what the service needs. Metrics may be nil.
type Deps struct {
	Store   Store
	Blobs   blob.Store // artwork/<id>/<size>.jpg is read
	Config  Config
	Log     *slog.Logger
	Now     func() time.Time
	NewID   func() string // 22 characters of base62, never twice the same
	Metrics prometheus.Registerer
}

// Service is the catalogue.
type Service struct {
	store Store
	blobs blob.Store
	cfg   Config
	log   *slog.Logger
	now   func() time.Time
	newID func() string
	wake  chan struct{}
	puts  putGroup

	ingests *prometheus.CounterVec
	spreads prometheus.Counter
}

// New makes the service.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Blobs == nil || d.Log == nil || d.Now == nil || d.NewID == nil {
		return nil, errors.New("metadata: a dependency is missing")
	}
	s := &Service{
		store: d.Store, blobs: d.Blobs, cfg: d.Config, log: d.Log, now: d.Now, newID: d.NewID,
		wake: make(chan struct{}, 1),
		ingests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_metadata_ingest_total", Help: "Calls that write the catalogue, by outcome.",
		}, []string{"call", "outcome"}),
		spreads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_metadata_spread_total", Help: "Albums and artists whose tracks were brought up to date.",
		}),
	}
	if d.Metrics != nil {
		for _, c := range []prometheus.Collector{s.ingests, s.spreads} {
			if err := d.Metrics.Register(c); err != nil {
				return nil, fmt.Errorf("register metrics of metadata: %w", err)
			}
		}
	}
	return s, nil
}

// Handler serves CatalogueService, IngestService and GET /artwork/<id>/<size>.
func (s *Service) Handler(opts ...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(metadatav1connect.NewCatalogueServiceHandler(catalogue{s}, opts...))
	mux.Handle(metadatav1connect.NewIngestServiceHandler(ingest{s}, opts...))
	mux.HandleFunc("GET /artwork/{id}/{size}", s.serveArtwork)
	return mux
}

// Run brings tracks up to date with their albums and artists until ctx ends, which is
// no error. It begins with what was left undone.
func (s *Service) Run(ctx context.Context) error {
	const retry = 5 * time.Second
	for {
		wait := retry
		if err := s.Spread(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "bring tracks up to date", "retry", retry, "err", err)
		} else if wait, err = s.untilNext(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "look for the next mark", "retry", retry, "err", err)
			wait = retry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		}
	}
}

// idle is how long Run waits where nothing is due. A mark that this process makes wakes
// it; one of another process is that one's, unless it has died since.
const idle = time.Minute

// untilNext is the time to the next mark, idle at most.
func (s *Service) untilNext(ctx context.Context) (time.Duration, error) {
	next, err := s.store.NextMark(ctx)
	if err != nil {
		return 0, err
	}
	if next.IsZero() {
		return idle, nil
	}
	return min(max(next.Sub(s.now()), time.Millisecond), idle), nil
}

func (s *Service) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // awake already
	}
}
