package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/services/upload/glance"
	"github.com/segue-music/segue/services/upload/measure"
	"github.com/segue-music/segue/services/upload/staging"
	"github.com/segue-music/segue/services/upload/watch"
)

// Deps are what the service is built from.
type Deps struct {
	Config Config
	Store  Store
	Blob   blob.Store
	// Dir is a private folder of this instance: bytes that are being received, and the
	// work folders of jobs. It may be lost with nothing lost but unfinished uploads.
	Dir      string
	Metadata metadatav1connect.IngestServiceClient
	Keys     playbackv1connect.KeyServiceClient
	FFmpeg   *ffmpeg.Runner
	// Fingerprints is nil where there is no fpcalc; nothing is compared then.
	Fingerprints *fingerprint.Calculator
	// WatchOwner names the user who owns the files of the watched folder.
	WatchOwner func(ctx context.Context) (string, error)

	// Inbox is a bucket whose objects are taken in as Bucket says; nil is none.
	Inbox  Inbox
	Bucket BucketConfig

	Log   *slog.Logger
	Now   func() time.Time
	NewID func() string
	// Space is fault.ErrDiskFull when there is none for more music.
	Space func() error
	// Random is what keys are drawn from: crypto/rand.Reader.
	Random io.Reader
	// Jitter is in [0, 1) and spreads retries: math/rand/v2.Float64.
	Jitter  func() float64
	Metrics prometheus.Registerer
	// Tracer follows jobs; it may be nil.
	Tracer trace.TracerProvider
}

// Service is the upload service.
type Service struct {
	Deps
	cfg     Config
	partial *staging.Dir
	work    string
	folder  *watch.Folder // nil without a watched folder
	taps    []measure.Maker
	hub     *hub
	metrics *metrics
	tracer  span.Tracer
	wake    map[Lane]chan struct{}
	covers  coverCache
	alike   glance.Turns
	begun   time.Time
	scan    scanState
	// listing counts the workers that list many tracks.
	listing atomic.Int32
	// probes bounds how many ffprobe run at once.
	probes  chan struct{}
	fetch   chan struct{} // wakes who brings objects of the bucket in
	closed  chan struct{}
	closing sync.Once
}

// New makes the service. Run does its work, Handler serves it.
func New(d Deps) (*Service, error) {
	if err := d.Config.Check(); err != nil {
		return nil, err
	}
	if d.Store == nil || d.Blob == nil || d.Metadata == nil || d.Keys == nil || d.FFmpeg == nil || d.Dir == "" ||
		d.Log == nil || d.Now == nil || d.NewID == nil || d.Space == nil || d.Random == nil || d.Jitter == nil {
		return nil, errors.New("upload: a dependency is missing")
	}
	s := &Service{
		Deps: d, cfg: d.Config, begun: d.Now(), work: filepath.Join(d.Dir, "work"), hub: newHub(), tracer: span.NewTracer(d.Tracer),
		probes: make(chan struct{}, max(1, d.Config.Workers)), closed: make(chan struct{}), fetch: make(chan struct{}, 1),
		wake: map[Lane]chan struct{}{
			LaneLight: make(chan struct{}, 1), LaneCover: make(chan struct{}, 1),
			LaneAudio: make(chan struct{}, 1), LaneFastAudio: make(chan struct{}, 1),
		},
	}
	s.taps = measure.Makers(d.Fingerprints)
	var err error
	if s.metrics, err = newMetrics(d.Metrics, newQueue(d.Store, d.Now)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.work, 0o700); err != nil {
		return nil, fmt.Errorf("make work folder: %w", err)
	}
	if s.cfg.Watch != "" {
		if err := s.openFolder(); err != nil {
			return nil, err
		}
	}
	if s.partial, err = staging.Open(filepath.Join(d.Dir, "partial")); err != nil {
		if s.folder != nil {
			err = errors.Join(err, s.folder.Close())
		}
		return nil, err
	}
	return s, nil
}

func (s *Service) openFolder() error {
	if s.WatchOwner == nil {
		return errors.New("upload: a watched folder needs an owner")
	}
	if err := apart(s.cfg.Watch, s.Dir); err != nil {
		return err
	}
	var err error
	s.folder, err = watch.Open(s.cfg.Watch, watch.Options{Settle: s.cfg.Settle, Rescan: s.cfg.Rescan, Now: s.Now, Log: s.Log})
	if err != nil {
		return err
	}
	s.scan.busy.Store(true)
	return nil
}

// apart refuses a watched folder that holds the service's own, whose files would come in
// again and again.
func apart(watched, own string) error {
	var real [2]string
	for i, dir := range []string{watched, own} {
		abs, err := filepath.Abs(dir)
		if err == nil {
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err != nil {
			return fmt.Errorf("open watched folder: %w", err)
		}
		real[i] = abs
	}
	if rel, err := filepath.Rel(real[0], real[1]); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("upload.watch: %s holds Segue's own data", watched)
	}
	return nil
}

// Close releases folders. Run has returned before.
func (s *Service) Close() error {
	s.endStreams()
	err := s.partial.Close()
	if s.folder != nil {
		err = errors.Join(err, s.folder.Close())
	}
	return err
}

func (s *Service) endStreams() { s.closing.Do(func() { close(s.closed) }) }

// lightWorkers read tags, each of lightBatch files at a time: that is waiting for disks,
// its own and that of metadata, more than work, and those that wait at the same time share
// a commit.
const (
	lightWorkers = 2
	lightBatch   = 64
)

// coverWorkers decode pictures, of which each may take 100 MB.
const coverWorkers = 2

// Run works on jobs and watches the folder until ctx ends. What is in work then is given
// back and begins again with the next Run.
func (s *Service) Run(ctx context.Context) error {
	defer s.endStreams()
	if err := s.sweepFolders(ctx); err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "sweep folders", "err", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	for range lightWorkers {
		g.Go(func() error { return s.runLane(ctx, LaneLight, lightBatch) })
	}
	for range coverWorkers {
		g.Go(func() error { return s.runLane(ctx, LaneCover, 2) })
	}
	for range s.cfg.Workers {
		g.Go(func() error { return s.runLane(ctx, LaneAudio, 1) })
	}
	// One worker more for what someone is waiting to hear: all others may be busy.
	g.Go(func() error { return s.runLane(ctx, LaneFastAudio, 1) })
	g.Go(func() error { return s.runJanitor(ctx) })
	if s.folder != nil {
		g.Go(func() error { return s.runFolder(ctx) })
	}
	if s.Inbox != nil {
		g.Go(func() error { return s.runBucket(ctx) })
	}
	if s.Inbox != nil && s.Bucket.Messages != nil {
		g.Go(func() error { return s.Bucket.Messages(ctx, s.queued) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// poke wakes one worker of every lane.
func (s *Service) poke() {
	for _, c := range s.wake {
		select {
		case c <- struct{}{}:
		default: // awake already
		}
	}
}
