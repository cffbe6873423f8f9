// Package overquic serves segue/1 on connections of QUIC and sessions of WebTransport.
package overquic

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"

	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/wire"
)

// ALPN is the protocol's name in TLS.
const ALPN = "segue/1"

// Serve serves a connection that has negotiated ALPN until it ends, and returns when
// its streams are done. It may be called before the handshake is complete; ctx ends the
// streams at once.
func Serve(ctx context.Context, s *server.Server, conn *quic.Conn) {
	c := s.Conn(conn.HandshakeComplete())
	serve(ctx, func(ctx context.Context) (server.Stream, error) {
		st, err := conn.AcceptStream(ctx)
		if err != nil {
			return nil, err
		}
		return quicStream{st}, nil
	}, c)
}

// ServeSession does the same for a session of WebTransport.
func ServeSession(ctx context.Context, s *server.Server, sess *webtransport.Session) {
	c := s.Conn(nil)
	serve(ctx, func(ctx context.Context) (server.Stream, error) {
		st, err := sess.AcceptStream(ctx)
		if err != nil {
			return nil, err
		}
		return sessionStream{st}, nil
	}, c)
}

func serve(ctx context.Context, accept func(context.Context) (server.Stream, error), c *server.Conn) {
	var streams sync.WaitGroup
	defer streams.Wait()
	for {
		st, err := accept(ctx)
		if err != nil {
			return // the connection has ended, or ctx has
		}
		streams.Go(func() { c.Serve(ctx, st) })
	}
}

// Close closes a connection with a code of the protocol; it is for the server's end.
func Close(conn *quic.Conn, code wire.Code) error {
	err := conn.CloseWithError(quic.ApplicationErrorCode(code), code.String())
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

type quicStream struct{ *quic.Stream }

func (s quicStream) CancelRead(code wire.Code) { s.Stream.CancelRead(quic.StreamErrorCode(code)) }
func (s quicStream) CancelWrite(code wire.Code) {
	s.Stream.CancelWrite(quic.StreamErrorCode(code))
}

type sessionStream struct{ *webtransport.Stream }

// CancelRead and CancelWrite set a deadline too: webtransport-go lets a Read or a
// Write that met the end of its session wait for that end to be announced, which does
// not come to a stream that has been cancelled.
func (s sessionStream) CancelRead(code wire.Code) {
	s.Stream.CancelRead(webtransport.StreamErrorCode(code))
	_ = s.SetReadDeadline(time.Unix(1, 0)) // a stream that has ended needs none
}

func (s sessionStream) CancelWrite(code wire.Code) {
	s.Stream.CancelWrite(webtransport.StreamErrorCode(code))
	_ = s.SetWriteDeadline(time.Unix(1, 0))
}
