// Package stream is the edge near the listeners: it ends segue/1 over QUIC,
// WebTransport, the HTTP fallback and the ranges of sealed objects. It owns no data and
// holds no content keys: which object a PLAY gets, with its key wrapped for the session,
// is playback's answer; what was served is reported back.
package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/stream/server"
)

// Deps are what the edge needs. Origins, Metrics and Tracer may be nil.
type Deps struct {
	// Streams and Players call playback as the target edge.
	Streams playbackv1connect.StreamServiceClient
	Players playbackv1connect.PlayerServiceClient
	// Blobs holds the sealed objects under objects/.
	Blobs blob.Store
	// Ring has the ticket, TLS ticket, address token and object keys; beside them lie the
	// certificates.
	Ring *keyring.Ring
	// Origins are the server's own web origins, which may be known only later.
	Origins func() []string
	Log     *slog.Logger
	Now     func() time.Time
	Metrics prometheus.Registerer
	Tracer  trace.TracerProvider
}

// Service is the edge. New opens its UDP socket, Run serves.
type Service struct {
	cfg     Config
	deps    Deps
	allowed []string
	certs   *certificates
	cdn     *cdn
	// objectKeys are those of the objects' tokens.
	objectKeys derivedKeys
	objects    *objects
	fences     *fences
	ledger     *ledger
	metrics    *metrics
	transport  *transport
	// One protocol server per transport, for their metrics. They share what Verify gives.
	quic, web, http *server.Server

	closeOnce sync.Once
	closeErr  error
}

// New makes the edge and opens its socket, so that its address is known; nothing is
// served before Run.
func New(cfg Config, d Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	allowed, err := parseOrigins(cfg.Origins)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	certs, err := openCertificates(d.Ring.Dir(), d.Now)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	network, err := openCDN(cfg.CDN)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	m, err := newMetrics(d.Metrics)
	if err != nil {
		return nil, fmt.Errorf("edge: register metrics: %w", err)
	}
	s := &Service{
		cfg: cfg, deps: d, allowed: allowed, certs: certs, cdn: network, metrics: m,
		objects: newObjects(d.Blobs, cfg.Objects),
		ledger:  newLedger(cfg.EdgeID, d.Now(), d.Log),
	}
	s.fences = newFences(d.Now, s.askFences)
	s.quic, s.web, s.http = s.protocol(quicTransport), s.protocol(webTransport), s.protocol(httpTransport)
	if err := s.watch(d.Metrics); err != nil {
		return nil, fmt.Errorf("edge: register metrics: %w", err)
	}
	if s.transport, err = s.openTransport(); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	return s, nil
}

func (s *Service) protocol(transport string) *server.Server {
	return server.New(server.Deps{
		Tickets: s, Objects: s.objects, Observer: observer{s.metrics, transport}, Now: s.deps.Now, Log: s.deps.Log,
		Tracer: &playTracer{tracer: span.NewTracer(s.deps.Tracer), transport: transport, now: s.deps.Now},
	})
}

// Addr is the UDP address that the socket is bound to.
func (s *Service) Addr() *net.UDPAddr { return s.transport.addr }

// Endpoint is where clients find this edge: host:port of QUIC, where an empty host
// stands for the host of the API; the path of WebTransport on it; the SHA-256 hashes of
// the certificate that it shows and of the next one.
func (s *Service) Endpoint() (quicAddr, wtPath string, hashes [][]byte) {
	port := strconv.Itoa(s.transport.addr.Port)
	host := s.cfg.PublicHost
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	return net.JoinHostPort(host, port), sessionPath, s.certs.hashes()
}

func (s *Service) origins() []string {
	if s.deps.Origins == nil {
		return s.allowed
	}
	return append(s.deps.Origins(), s.allowed...)
}

// Run serves until ctx ends, and then drains: open streams end with DRAINING, so
// that their clients connect elsewhere and play on from their buffers, and what was
// served is reported. It returns nil when that is done.
func (s *Service) Run(ctx context.Context) error {
	// Streams outlive the stop signal until they are drained.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { s.transport.serve(serving) })
	wg.Go(func() { s.upkeep(serving) })
	<-ctx.Done()

	servers := []*server.Server{s.quic, s.web, s.http}
	for _, p := range servers {
		p.Drain()
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	for _, p := range servers {
		if err := p.Wait(limit); err != nil {
			s.deps.Log.WarnContext(ctx, "streams were cut off at the end of the drain", "err", err)
			break
		}
	}
	s.transport.linger(limit)
	stop()
	ended := make(chan struct{})
	go func() { defer close(ended); wg.Wait() }()
	select {
	case <-ended: // every connection has been told
	case <-limit.Done():
		s.deps.Log.WarnContext(ctx, "connections were cut off at the end of the drain")
	}
	err := s.Close()
	report, cancelReport := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancelReport()
	s.ledger.flush(report, s.deps.Streams)
	s.objects.close()
	return err
}

// Close releases the socket. Run does so itself; Close is for an edge that was never
// run.
func (s *Service) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.transport.close() })
	return s.closeErr
}

// rotateEvery is how often certificates and ticket keys are looked at.
const rotateEvery = time.Minute

// upkeep reports what was served and rotates what is due.
func (s *Service) upkeep(ctx context.Context) {
	report := time.NewTicker(s.cfg.ReportEvery)
	defer report.Stop()
	rotate := time.NewTicker(rotateEvery)
	defer rotate.Stop()
	for {
		select {
		case <-report.C:
			s.ledger.flush(ctx, s.deps.Streams)
		case <-rotate.C:
			if err := errors.Join(s.certs.rotate(), s.transport.refreshKeys()); err != nil {
				s.deps.Log.ErrorContext(ctx, "keys were not rotated", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
