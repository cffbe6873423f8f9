package user

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/ratelimit"
	"github.com/segue-music/segue/services/user/password"
)

// Keyring is what the service needs of keyring.Ring: the purposes Master, Signing and
// Refresh for itself, and all of them to rotate.
type Keyring interface {
	Keys(p keyring.Purpose) ([]keyring.Key, error)
	All(p keyring.Purpose) ([]keyring.Key, error)
	Rotate(p keyring.Purpose) (keyring.Key, error)
}

// Deps are what a Service is made of.
type Deps struct {
	Store  Store
	Keys   Keyring
	Config Config
	// Issuer is the public URL of the server, without a slash at its end. It is asked for
	// each request, since a port may be known only once a listener is bound.
	Issuer func() string
	// Origins are further URLs under which browsers reach this server; nil is none.
	Origins func() []string

	Log     *slog.Logger
	Now     func() time.Time
	NewID   func() string
	Random  io.Reader // nil is crypto/rand
	Metrics prometheus.Registerer
	// SharedLimits has several instances count sign-ins together; nil counts here alone.
	SharedLimits ratelimit.Shared
	// Hash is the cost of passwords; zero is password.Recommended.
	Hash password.Params
}

// Service is the user service. All methods may be called concurrently.
type Service struct {
	store   Store
	keys    Keyring
	config  Config
	issuer  func() string
	origins func() []string
	log     *slog.Logger
	now     func() time.Time
	newID   func() string
	random  io.Reader

	hasher   *password.Hasher
	limits   *limits
	guessers *guessers
	metrics  *metrics
	pages    *template.Template
}

var (
	_ userv1connect.AccountServiceHandler     = (*Service)(nil)
	_ userv1connect.ListenerKeyServiceHandler = (*Service)(nil)
	_ userv1connect.KeyRingServiceHandler     = (*Service)(nil)
)

// New makes the service.
func New(d Deps) (*Service, error) {
	if err := d.Config.Check(); err != nil {
		return nil, fmt.Errorf("user service: %w", err)
	}
	if d.Store == nil || d.Keys == nil || d.Issuer == nil || d.Log == nil || d.Now == nil || d.NewID == nil {
		return nil, errors.New("user service: a dependency is missing")
	}
	if d.Random == nil {
		d.Random = rand.Reader
	}
	if d.Origins == nil {
		d.Origins = func() []string { return nil }
	}
	if d.Hash == (password.Params{}) {
		d.Hash = password.Recommended()
	}
	pages, err := parsePages()
	if err != nil {
		return nil, fmt.Errorf("user service: %w", err)
	}
	hasher := password.New(d.Hash, d.Config.HashQueue)
	m, err := newMetrics(d.Metrics, hasher)
	if err != nil {
		return nil, fmt.Errorf("user service: %w", err)
	}
	return &Service{
		store: d.Store, keys: d.Keys, config: d.Config, issuer: d.Issuer, origins: d.Origins, log: d.Log, now: d.Now, newID: d.NewID,
		random: d.Random, hasher: hasher, metrics: m, pages: pages,
		limits: newLimits(d.Config, d.Now, d.SharedLimits), guessers: newGuessers(),
	}, nil
}

// Handler serves the RPCs, /oauth/, /.well-known/ and /login. It expects the identity of
// the caller in the request's context, as rpc.Server's middleware puts it there.
func (s *Service) Handler(opts ...connect.HandlerOption) http.Handler {
	// Outermost, so that it sees what the other interceptors refuse.
	opts = append([]connect.HandlerOption{connect.WithInterceptors(connect.UnaryInterceptorFunc(s.audit))}, opts...)
	mux := http.NewServeMux()
	mux.Handle(userv1connect.NewAccountServiceHandler(s, opts...))
	mux.Handle(userv1connect.NewListenerKeyServiceHandler(s, opts...))
	mux.Handle(userv1connect.NewDirectoryServiceHandler(s, opts...))
	mux.Handle(userv1connect.NewAccessAuditServiceHandler(s, opts...))
	mux.Handle(userv1connect.NewKeyRingServiceHandler(s, opts...))
	oauth := s.oauthHandler()
	mux.Handle("/oauth/", oauth)
	mux.Handle("GET "+pathDiscovery, oauth)
	mux.Handle("GET "+pathKeys, oauth)
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("GET /login/style.css", s.loginStyle)
	return mux
}

const (
	maintainEvery = time.Hour
	// keepEnded is how long a session that ended is kept, so that an old token still finds
	// it; codes are kept as long past their minute, so that a second use is told apart.
	keepEnded = 24 * time.Hour
)

// Run replaces old keys and drops ended sessions, until ctx ends, which is no error.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		if err := s.maintain(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "upkeep of sign-ins failed", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Service) maintain(ctx context.Context) error {
	now := s.now()
	var errs []error
	for _, p := range keyring.Purposes() {
		keys, err := s.keys.All(p)
		if err == nil && p != keyring.Master && now.Sub(keys[0].Created) >= s.config.RotateKeys {
			_, err = s.rotateKey(ctx, p, identity.Identity{})
		}
		if !errors.Is(err, keyring.ErrSoon) { // another instance was quicker
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.store.Purge(ctx, now.Add(-keepEnded), now.Add(-keepEnded)))
	return errors.Join(errs...)
}

// allowedOrigins are the URLs under which browsers reach us, the issuer first.
func (s *Service) allowedOrigins() []string { return append([]string{s.issuer()}, s.origins()...) }

func (s *Service) ourOrigin(origin string) bool { return slices.Contains(s.allowedOrigins(), origin) }
