package charts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	chartsv1 "github.com/segue-music/segue/gen/segue/charts/v1"
	"github.com/segue-music/segue/gen/segue/charts/v1/chartsv1connect"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/pause"
)

// Deps are what a Service needs. Metrics may be nil; Blobs only where the source is spark.
type Deps struct {
	Config  Config
	Store   Store
	Events  event.Log
	Blobs   blob.Store
	Log     *slog.Logger
	Now     func() time.Time
	Metrics prometheus.Registerer
}

// Service tells charts and counts them.
type Service struct {
	Deps
	metrics *metrics
	known   map[string]bool // snapshots that were looked at
	swept   time.Time       // when all of them were listed
}

var _ chartsv1connect.ChartServiceHandler = (*Service)(nil)

// New makes the service. It counts nothing until Run.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Events == nil || d.Log == nil || d.Now == nil {
		return nil, errors.New("make charts: Store, Events, Log and Now are needed")
	}
	if err := d.Config.Check(); err != nil {
		return nil, fmt.Errorf("configure charts: %w", err)
	}
	if d.Config.Source == FromSpark && d.Blobs == nil {
		return nil, errors.New("make charts: without Blobs there is nothing to take from Spark")
	}
	m, err := newMetrics(d.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register charts metrics: %w", err)
	}
	return &Service{Deps: d, metrics: m, known: map[string]bool{}}, nil
}

// Handler serves ChartService.
func (s *Service) Handler(opts ...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(chartsv1connect.NewChartServiceHandler(s, opts...))
	return mux
}

// GetChart implements chartsv1connect.ChartServiceHandler.
func (s *Service) GetChart(ctx context.Context, req *chartsv1.GetChartRequest) (*chartsv1.GetChartResponse, error) {
	at := s.Now()
	if t := req.GetAt(); t != nil {
		if t.CheckValid() != nil {
			return nil, errAt
		}
		at = t.AsTime()
	}
	period := Hour
	if req.GetPeriod() == chartsv1.Period_PERIOD_DAY {
		period = Day
	}
	k := Key{Period: period, Start: period.Start(at), Market: req.GetMarket()}
	entries, err := s.Store.Top(ctx, k, Size)
	if err != nil {
		return nil, fmt.Errorf("get chart: %w", err)
	}
	before := map[string]uint32{}
	if len(entries) > 0 {
		k.Start = period.Start(k.Start.Add(-1))
		list, err := s.Store.Top(ctx, k, Size)
		if err != nil {
			return nil, fmt.Errorf("get chart: %w", err)
		}
		for i, e := range list {
			before[e.TrackID] = uint32(i + 1)
		}
	}
	start := period.Start(at)
	res := &chartsv1.GetChartResponse{Start: timestamppb.New(start), End: timestamppb.New(start.Add(period.Length()))}
	for i, e := range entries {
		res.Entries = append(res.Entries, &chartsv1.ChartEntry{
			Rank: uint32(i + 1), TrackId: e.TrackID, Plays: e.Plays, PreviousRank: before[e.TrackID],
		})
	}
	return res, nil
}

const pruneEvery = time.Hour

// Run counts, or takes over what Spark has counted, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var work sync.WaitGroup
	if s.Config.Source == FromSpark {
		work.Go(func() { s.every(ctx, followEvery, "take charts over", s.follow) })
	} else {
		work.Go(func() { s.count(ctx) })
	}
	work.Go(func() {
		s.every(ctx, pruneEvery, "prune charts", func(ctx context.Context) error { return s.Store.Prune(ctx, s.oldest()) })
	})
	work.Wait()
	return nil
}

// oldest is when the oldest day begins that is kept.
func (s *Service) oldest() time.Time { return Day.Start(s.Now().Add(-s.Config.Keep)) }

// every does something now and then, until ctx ends; an error is told and passes.
func (s *Service) every(ctx context.Context, wait time.Duration, what string, do func(context.Context) error) {
	for ctx.Err() == nil {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			s.metrics.failures.Inc()
			s.Log.WarnContext(ctx, what, "err", err)
		}
		pause.For(ctx, wait)
	}
}

type metrics struct{ plays, unreadable, snapshots, failures prometheus.Counter }

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "segue_charts_" + name, Help: help})
	}
	m := &metrics{
		plays:      counter("plays_total", "Listens that were taken in, doubles among them."),
		unreadable: counter("unreadable_total", "Records of listens that cannot be read."),
		snapshots:  counter("snapshots_total", "Charts of an hour or a day that were taken over from Spark."),
		failures:   counter("failures_total", "Rounds of counting, of taking over and of pruning that failed."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.plays, m.unreadable, m.snapshots, m.failures} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
