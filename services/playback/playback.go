// Package playback lets sound flow: it grants sessions and tickets, keeps the content
// keys, answers which object a PLAY is given, keeps each listener's one player, and
// counts what was heard.
//
// A PLAY makes no database call while its track is in memory: tracks are known from a
// local copy of the catalogue that follows the catalogue's events, keys never change,
// and the key of a session is computed, not stored.
package playback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"
	"github.com/segue-music/segue/internal/keyring"
)

// Keyring is where secrets come from; *keyring.Ring is one.
type Keyring interface {
	Keys(keyring.Purpose) ([]keyring.Key, error)
}

// Notices carries word of listeners between the instances of playback. It may be lost:
// then the player is read again every Config.Refresh. redisdb.Notices is one.
type Notices interface {
	// Tell tells the other instances that follow a listener. Like the rest it never blocks.
	Tell(userID, text string)
	Follow(userID string)
	Unfollow(userID string)
	// Run hands over what others tell until ctx ends, which is no error. An empty text
	// says that something may have been missed.
	Run(ctx context.Context, got func(userID, text string)) error
}

// Deps are what the service needs. Metrics may be nil, Notices where there is one instance.
type Deps struct {
	Config  Config
	Store   Store
	Log     *slog.Logger
	Now     func() time.Time
	NewID   func() string
	Metrics prometheus.Registerer
	// Random is for nonces: crypto/rand.Reader.
	Random io.Reader
	Keys   Keyring
	// Events is where the events of the catalogue and of identities are read.
	Events   event.Log
	Metadata metadatav1connect.IngestServiceClient
	Upload   uploadv1connect.PrioritiseServiceClient
	Notices  Notices
	// Endpoints are where devices stream from, in the order of preference.
	Endpoints func(context.Context) ([]*playbackv1.Endpoint, error)
}

// Service implements the five RPC services of playback.
type Service struct {
	Deps
	tracks   *catalogue
	keys     *contentKeys
	fences   *fences
	watchers *watchers
	metrics  *metrics
	pace     *pace
	plays    *plays
}

// New makes the service. Nothing runs before Run.
func New(d Deps) (*Service, error) {
	if err := d.Config.Validate(); err != nil {
		return nil, fmt.Errorf("playback config: %w", err)
	}
	m, err := newMetrics(d.Metrics)
	if err != nil {
		return nil, fmt.Errorf("playback metrics: %w", err)
	}
	tracks, err := newCatalogue(d)
	if err != nil {
		return nil, fmt.Errorf("playback catalogue: %w", err)
	}
	keys, err := newContentKeys(d)
	if err != nil {
		return nil, fmt.Errorf("playback keys: %w", err)
	}
	known, err := newPlays()
	if err != nil {
		return nil, fmt.Errorf("playback plays: %w", err)
	}
	if d.Notices == nil {
		d.Notices = alone{}
	}
	s := &Service{
		Deps: d, tracks: tracks, keys: keys, metrics: m, plays: known,
		fences: newFences(d.Store, d.Now), watchers: newWatchers(d.Notices),
	}
	s.pace = &pace{every: d.Config.Together, commit: s.commit}
	return s, nil
}

// Handler serves the five services on one mux.
func (s *Service) Handler(opts ...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(playbackv1connect.NewSessionServiceHandler(s, opts...))
	mux.Handle(playbackv1connect.NewPlayerServiceHandler(s, opts...))
	mux.Handle(playbackv1connect.NewStreamServiceHandler(s, opts...))
	mux.Handle(playbackv1connect.NewKeyServiceHandler(s, opts...))
	mux.Handle(playbackv1connect.NewRecordServiceHandler(s, opts...))
	return mux
}

// Run follows the catalogue and the identities, keeps fences fresh and sweeps silent
// plays, until ctx ends, which is no error.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.follow(ctx, catalogueGroup, event.Catalogue, s.tracks.handle) })
	g.Go(func() error { return s.follow(ctx, identityGroup, event.UserIdentity, s.handleIdentity) })
	g.Go(func() error {
		return every(ctx, s.Config.Refresh, func() { s.fences.refresh(ctx, s.Log) })
	})
	g.Go(func() error { return every(ctx, s.Config.Sweep, func() { s.sweep(ctx) }) })
	g.Go(func() error { return every(ctx, pruneEvery, func() { s.prune(ctx) }) })
	g.Go(func() error { return s.Notices.Run(ctx, s.told) })
	return g.Wait()
}

// Consumer groups.
const (
	catalogueGroup = "playback-catalogue"
	identityGroup  = "playback-identity"
)

const (
	pruneEvery   = time.Hour
	consumeAgain = time.Second
)

// follow consumes a topic until ctx ends, again after a failure of the effect. Only a
// log that is gone for good ends it.
func (s *Service) follow(ctx context.Context, group, topic string, handle event.Handler) error {
	for {
		err := s.Events.Consume(ctx, group, []string{topic}, handle)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // ctx has ended
		case errors.Is(err, event.ErrFailed), errors.Is(err, event.ErrClosed):
			return fmt.Errorf("follow %s: %w", topic, err)
		}
		s.Log.WarnContext(ctx, "events wait", "group", group, "topic", topic, "retry", consumeAgain, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(consumeAgain):
		}
	}
}

func every(ctx context.Context, d time.Duration, fn func()) error {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			fn()
		}
	}
}

func (s *Service) prune(ctx context.Context) {
	now := s.Now()
	if err := s.Store.Prune(ctx, now.Add(-s.Config.SessionIdle), now.Add(-s.Config.KeepPlays)); err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "prune playback store", "err", err)
	}
}
