package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/span"
)

// maxMessage bounds a message between services, in bytes: a queue of 20,000 tracks fits.
const maxMessage = 8 << 20

// Server makes the options of every handler of this process.
type Server struct {
	tokens   *Tokens
	log      *slog.Logger
	validate protovalidate.Validator
	tracer   span.Tracer
	duration *prometheus.HistogramVec
	now      func() time.Time
}

// ServerDeps are what a Server needs; Metrics and Tracer may be nil.
type ServerDeps struct {
	Tokens  *Tokens
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Tracer  trace.TracerProvider
	Now     func() time.Time
}

// NewServer makes the server side.
func NewServer(d ServerDeps) (*Server, error) {
	v, err := protovalidate.New()
	if err != nil {
		return nil, err
	}
	s := &Server{tokens: d.Tokens, log: d.Log, validate: v, tracer: span.NewTracer(d.Tracer), now: d.Now}
	s.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "segue_rpc_duration_seconds", Help: "Time from request to the end of the answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
	}, []string{"procedure", "code"})
	if d.Metrics != nil {
		if err := d.Metrics.Register(s.duration); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Options are to be given to every generated handler.
func (s *Server) Options() []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithInterceptors(&interceptor{server: s}),
		connect.WithReadMaxBytes(maxMessage),
		connect.WithCompressMinBytes(1 << 10),
	}
}

type peerKey struct{}

// WithPeer says which targets the caller's certificate names: a token that names another
// one is not believed.
func WithPeer(ctx context.Context, targets []string) context.Context {
	return context.WithValue(ctx, peerKey{}, targets)
}

// speaks reports whether the peer may speak for a target. In one process, and where calls
// have no certificates, the token alone tells.
func speaks(ctx context.Context, target string) bool {
	targets, known := ctx.Value(peerKey{}).([]string)
	return !known || slices.Contains(targets, target)
}

// Authenticate puts the identity of the token into the context of each request to the
// service audience. Without a token, or with one that is not valid, the identity is
// nobody: the decision who may call is made later, in one place. The trace that the
// request belongs to is believed of whom the token is believed; anyone else's request is
// in a trace of its own.
func (s *Server) Authenticate(audience string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if token := r.Header.Get(Header); token != "" {
			who, err := s.tokens.Verify(audience, token)
			if err == nil && !speaks(ctx, who.Target) {
				err = fmt.Errorf("%w: the peer's certificate does not name %s", ErrToken, who.Target)
			}
			if err != nil {
				s.log.WarnContext(ctx, "identity token refused", "audience", audience, "path", r.URL.Path, "err", err)
			} else {
				ctx = span.Extract(identity.With(ctx, who), r.Header)
			}
		}
		ctx, sp := s.tracer.Start(ctx, audience, trace.WithSpanKind(trace.SpanKindServer))
		defer sp.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
