package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/segue-music/segue/stream/wire"
)

const (
	dialTimeout = 5 * time.Second
	keepAlive   = 15 * time.Second
	idleTimeout = 60 * time.Second
	// blockedFor is how long a network counts as one that lets no UDP through.
	blockedFor = 5 * time.Minute
)

// network is the part of a Session that mu guards and that is about connections.
type network struct {
	transport *quic.Transport
	conn      *quic.Conn
	dialing   *dial
	endpoint  int       // index of the one in use
	blocked   time.Time // QUIC is not tried before
}

// dial is one attempt that several plays may wait for.
type dial struct {
	done chan struct{}
	conn *quic.Conn
	err  error
}

// Connect opens the connection ahead of the first play. It is not needed; it saves a
// round trip or two. It fails when QUIC does; plays may still work by the fallback.
func (s *Session) Connect(ctx context.Context) error {
	conn, err := s.connection(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	select {
	case <-conn.HandshakeComplete():
		return nil
	case <-conn.Context().Done():
		return fmt.Errorf("connect: %w", context.Cause(conn.Context()))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// current is the endpoint in use.
func (s *Session) current() Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Endpoints[s.endpoint%len(s.cfg.Endpoints)]
}

// leave gives up a connection, and its endpoint for the next one.
func (s *Session) leave(conn *quic.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn != nil && s.conn == conn {
		s.conn = nil
		s.endpoint++
	}
}

// abandon closes a connection on which nothing comes any more.
func (s *Session) abandon() {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if conn != nil {
		s.leave(conn)
		_ = conn.CloseWithError(0, "") // it is given up either way
	}
}

// quicUsable reports whether QUIC is worth a try.
func (s *Session) quicUsable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.cfg.Endpoints[s.endpoint%len(s.cfg.Endpoints)]
	return e.QUIC != "" && (e.Fallback == "" || !s.cfg.Now().Before(s.blocked))
}

// connected reports whether there is a connection whose handshake is complete.
func (s *Session) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil || s.conn.Context().Err() != nil {
		return false
	}
	select {
	case <-s.conn.HandshakeComplete():
		return true
	default:
		return false
	}
}

// connection returns the open connection or makes one. Several callers share one
// attempt, which goes on when they give up.
func (s *Session) connection(ctx context.Context) (*quic.Conn, error) {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return nil, ErrClosed
	case s.conn != nil && s.conn.Context().Err() == nil:
		defer s.mu.Unlock()
		return s.conn, nil
	}
	d := s.dialing
	if d == nil {
		d = &dial{done: make(chan struct{})}
		s.dialing, s.conn = d, nil
		go s.dial(context.WithoutCancel(ctx), d)
	}
	s.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *Session) dial(ctx context.Context, d *dial) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	for range s.cfg.Endpoints {
		e := s.current()
		if e.QUIC == "" {
			d.err = errors.New("endpoint has no QUIC")
		} else if d.conn, d.err = s.dialEndpoint(ctx, e); d.err == nil {
			break
		}
		if len(s.cfg.Endpoints) > 1 {
			s.mu.Lock()
			s.endpoint++
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	s.dialing = nil
	if d.err == nil {
		s.conn = d.conn
		s.blocked = time.Time{}
	} else {
		s.blocked = s.cfg.Now().Add(blockedFor)
	}
	closed := s.closed
	s.mu.Unlock()
	if closed && d.conn != nil {
		_ = d.conn.CloseWithError(0, "") // the session is gone; nobody waits for this
		d.conn, d.err = nil, ErrClosed
	}
	close(d.done)
}

func (s *Session) dialEndpoint(ctx context.Context, e Endpoint) (*quic.Conn, error) {
	tr, err := s.socket()
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr("udp", e.QUIC)
	if err != nil {
		return nil, fmt.Errorf("resolve endpoint: %w", err)
	}
	conn, err := tr.DialEarly(ctx, addr, tlsConfig(e, s.cfg.Resumption, s.cfg.Now), &quic.Config{
		TokenStore: s.cfg.Resumption.tokens, KeepAlivePeriod: keepAlive, MaxIdleTimeout: idleTimeout,
		MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", e.QUIC, err)
	}
	return conn, nil
}

// socket is the one UDP socket of the session.
func (s *Session) socket() (*quic.Transport, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.transport == nil {
		sock, err := net.ListenUDP("udp", nil)
		if err != nil {
			return nil, fmt.Errorf("open socket: %w", err)
		}
		s.transport = &quic.Transport{Conn: sock}
	}
	return s.transport, nil
}

// codeOf turns an error of QUIC that carries a code of the protocol into that.
func codeOf(err error) error {
	var app *quic.ApplicationError
	var str *quic.StreamError
	switch {
	case errors.As(err, &app) && app.Remote && app.ErrorCode != 0:
		return wire.Errorf(wire.Code(app.ErrorCode), "connection closed: %s", app.ErrorMessage)
	case errors.As(err, &str) && str.Remote && str.ErrorCode != 0:
		return wire.Errorf(wire.Code(str.ErrorCode), "stream reset")
	default:
		return err
	}
}
