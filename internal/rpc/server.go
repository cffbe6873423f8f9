package rpc

import (
	"log/slog"
	"net/http"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"connectrpc.com/otelconnect"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/internal/identity"
)

// maxMessage bounds a message between services, in bytes: a queue of 20,000 tracks fits.
const maxMessage = 8 << 20

// Server makes the options of every handler of this process.
type Server struct {
	tokens   *Tokens
	log      *slog.Logger
	validate protovalidate.Validator
	otel     connect.Interceptor
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
	s := &Server{tokens: d.Tokens, log: d.Log, validate: v, now: d.Now}
	s.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "segue_rpc_duration_seconds", Help: "Time from request to the end of the answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
	}, []string{"procedure", "code"})
	if d.Metrics != nil {
		if err := d.Metrics.Register(s.duration); err != nil {
			return nil, err
		}
	}
	if d.Tracer != nil {
		s.otel, err = otelconnect.NewInterceptor(otelconnect.WithTracerProvider(d.Tracer), otelconnect.WithTrustRemote(),
			otelconnect.WithoutMetrics())
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Options are to be given to every generated handler.
func (s *Server) Options() []connect.HandlerOption {
	chain := []connect.Interceptor{&interceptor{server: s}}
	if s.otel != nil {
		chain = append([]connect.Interceptor{s.otel}, chain...)
	}
	return []connect.HandlerOption{
		connect.WithInterceptors(chain...),
		connect.WithReadMaxBytes(maxMessage),
		connect.WithCompressMinBytes(1 << 10),
	}
}

// Authenticate puts the identity of the token into the context of each request to the
// service audience. Without a token, or with one that is not valid, the identity is
// nobody: the decision who may call is made later, in one place.
func (s *Server) Authenticate(audience string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get(Header)
		if token == "" {
			next.ServeHTTP(w, r)
			return
		}
		who, err := s.tokens.Verify(audience, token)
		if err != nil {
			s.log.WarnContext(r.Context(), "identity token refused", "audience", audience, "path", r.URL.Path, "err", err)
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r.WithContext(identity.With(r.Context(), who)))
	})
}
