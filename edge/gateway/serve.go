package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/ratelimit"
)

const (
	maxHeader     = 32 << 10
	headerTimeout = 5 * time.Second
	idleTimeout   = 90 * time.Second
)

// Serve answers on ln until ctx ends, then drains and returns nil. With a TLS
// configuration it speaks HTTP/1.1 and HTTP/2 over TLS, without one HTTP/1.1 and
// HTTP/2 with prior knowledge in the clear.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener, conf *tls.Config) error {
	return g.serve(ctx, ln, conf, g.Handler())
}

// ServeOther is Serve for another handler, such as the redirect of a plain port, within
// the same bounds of connections, headers and time.
func (g *Gateway) ServeOther(ctx context.Context, ln net.Listener, h http.Handler) error {
	return g.serve(ctx, ln, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(headerTimeout))      // a real connection has deadlines
		_ = control.SetWriteDeadline(time.Now().Add(6 * headerTimeout)) // as above
		r.Body = http.MaxBytesReader(w, r.Body, 64*kib)
		h.ServeHTTP(w, r)
	}))
}

func (g *Gateway) serve(ctx context.Context, ln net.Listener, conf *tls.Config, h http.Handler) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(conf != nil)
	protocols.SetUnencryptedHTTP2(conf == nil)
	srv := &http.Server{
		Handler:           h,
		TLSConfig:         conf,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		Protocols:         &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 100, MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 3 << 20, MaxReadFrameSize: 64 << 10,
			SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: time.Minute,
		},
		// What strangers do to a handshake is no news of ours.
		ErrorLog: slog.NewLogLogger(g.deps.Log.Handler(), slog.LevelDebug),
	}
	capped := newCappedListener(ln, g.deps.Config, g.trusted, g.metrics)
	failed := make(chan error, 1)
	go func() {
		if conf != nil {
			failed <- srv.ServeTLS(capped, "", "")
			return
		}
		failed <- srv.Serve(capped)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	g.Drain()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.deps.Config.DrainTimeout)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		g.deps.Log.WarnContext(grace, "requests were cut off", "err", err)
		_ = srv.Close() // what is left is cut off in any case
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// cappedListener bounds open connections, in all and per client network.
type cappedListener struct {
	net.Listener
	most, mostPerIP int
	trusted         prefixes // proxies carry many clients
	metrics         *metrics

	mu    sync.Mutex
	all   int
	perIP map[netip.Addr]int
}

func newCappedListener(ln net.Listener, c Config, trusted prefixes, m *metrics) *cappedListener {
	return &cappedListener{Listener: ln, most: c.MaxConns, mostPerIP: c.MaxConnsPerIP, trusted: trusted, metrics: m, perIP: map[netip.Addr]int{}}
}

// Accept closes at once what is over a bound, and goes on.
func (l *cappedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		release, bound := l.take(conn.RemoteAddr())
		if bound == "" {
			return &cappedConn{Conn: conn, release: release}, nil
		}
		l.metrics.turned.WithLabelValues(bound).Inc()
		_ = conn.Close() // it is not wanted in any case
	}
}

func (l *cappedListener) take(addr net.Addr) (release func(), bound string) {
	var ip netip.Addr
	if ap, err := netip.ParseAddrPort(addr.String()); err == nil {
		ip = ap.Addr().Unmap().WithZone("")
	}
	key := ratelimit.Network(ip)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.all >= l.most:
		return nil, "all"
	case ip.IsValid() && l.perIP[key] >= l.mostPerIP && !l.trusted.contain(ip):
		return nil, "per_ip"
	}
	l.all++
	l.perIP[key]++
	l.metrics.conns.Inc()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if l.perIP[key]--; l.perIP[key] == 0 {
			delete(l.perIP, key)
		}
		l.metrics.conns.Dec()
	}, ""
}

type cappedConn struct {
	net.Conn
	once    sync.Once
	release func()
}

func (c *cappedConn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}
