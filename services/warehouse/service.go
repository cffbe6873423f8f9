// Package warehouse keeps the audit trail: it writes every record of every topic into
// hourly Parquet files (the lake), and finds events in lake and log together.
//
// A record is in exactly one file. The files of a partition are a chain: each begins where
// the one before ends, and there is one at most that begins at an offset. The log's group
// gives each partition to one process, which commits a file's end after the file is
// durable. Where two believe that a partition is theirs, as after a pause, the store lets
// one of them make the file, and the other goes on where that ends. What is not in the lake
// yet is read from the log, so that an event is found as soon as it was acknowledged.
package warehouse

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
	"github.com/segue-music/segue/internal/span"
)

// Group is the warehouse's name among the readers of the log.
const Group = "warehouse"

// Config of the service.
type Config struct {
	FlushEvery time.Duration
	HourGrace  time.Duration
	FileRows   int
	FileBytes  int
	// CompactEvery is how often to look for hours that are over, CompactAfter how long an
	// hour must be.
	CompactEvery, CompactAfter time.Duration
}

// RegisterFlags names the flags and sets the defaults.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.DurationVar(&c.FlushEvery, prefix+".flush-every", 10*time.Second, "how often to look for a finished hour or a full file")
	fs.DurationVar(&c.HourGrace, prefix+".hour-grace", time.Minute, "how long after an hour's end its file is written")
	fs.IntVar(&c.FileRows, prefix+".file-rows", 100_000, "events after which a file is written before the hour ends")
	fs.IntVar(&c.FileBytes, prefix+".file-bytes", 32<<20, "bytes of events in one file, before compression")
	fs.DurationVar(&c.CompactEvery, prefix+".compact-every", 10*time.Minute, "how often to make few large files of the small ones of past hours; 0 never")
	fs.DurationVar(&c.CompactAfter, prefix+".compact-after", time.Hour, "how long an hour must be over before that")
}

// Check refuses what cannot be meant.
func (c *Config) Check() error {
	if c.CompactEvery < 0 || c.CompactAfter < 0 {
		return errors.New("compact-every and compact-after cannot be below 0")
	}
	if c.FlushEvery <= 0 || c.HourGrace < 0 || c.FileRows < 1 || c.FileBytes < 1 {
		return errors.New("flush-every, file-rows and file-bytes must be above 0")
	}
	return nil
}

// Deps are what a Service needs. Metrics and Tracer may be nil.
type Deps struct {
	Config Config
	Store  Store
	Events event.Log
	// PersonalKeys opens personal fields for admins while the listener's key exists.
	PersonalKeys event.PersonalKeys
	Log          *slog.Logger
	Now          func() time.Time
	Metrics      prometheus.Registerer
	Tracer       trace.TracerProvider
}

// Service is the warehouse.
type Service struct {
	deps     Deps
	flushing chan struct{} // one flush at a time
	metrics  *metrics
	tracer   span.Tracer

	mu       sync.Mutex
	dividing bool // Run runs
	held     map[place]*portion
	peeked   map[place]peek
}

// place is one partition of one topic.
type place struct {
	topic     string
	partition int32
}

var _ warehousev1connect.AuditServiceHandler = (*Service)(nil)

// New makes the service. It does nothing until Run or a call.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Events == nil || d.PersonalKeys == nil || d.Log == nil || d.Now == nil {
		return nil, errors.New("make warehouse: Store, Events, PersonalKeys, Log and Now are needed")
	}
	if err := d.Config.Check(); err != nil {
		return nil, fmt.Errorf("configure warehouse: %w", err)
	}
	m, err := newMetrics(d.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register warehouse metrics: %w", err)
	}
	return &Service{deps: d, flushing: make(chan struct{}, 1), held: map[place]*portion{}, peeked: map[place]peek{}, metrics: m, tracer: span.NewTracer(d.Tracer)}, nil
}

// Handler serves AuditService.
func (s *Service) Handler(opts ...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(warehousev1connect.NewAuditServiceHandler(s, opts...))
	return mux
}

type metrics struct {
	files, rows, failures, lost, compacted prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "segue_warehouse_" + name, Help: help})
	}
	m := &metrics{
		files:     counter("files_total", "Files written to the lake."),
		rows:      counter("rows_total", "Events written to the lake."),
		failures:  counter("flush_failures_total", "Rounds of writing that failed."),
		compacted: counter("compactions_total", "Hours of a topic whose files were made fewer."),
		lost:      counter("lost_total", "Records that the log dropped before they were in the lake."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.files, m.rows, m.failures, m.lost, m.compacted} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
