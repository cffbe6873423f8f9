package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
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
	srv.ConnState = capped.state
	srv.ConnContext = g.withPatience
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
