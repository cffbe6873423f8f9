package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/segue-music/segue/stream/wire"
)

// link is the connection of one listener.
type link interface {
	open(ctx context.Context) (bidi, error)
	close()
}

// bidi is one stream of it.
type bidi interface {
	io.ReadWriteCloser
	cancel()
}

// sockets are what the links of all listeners go through: a socket for each would cost the
// client a goroutine and a buffer each, and the server nothing.
type sockets struct {
	all []*quic.Transport
	tls *tls.Config
}

func openSockets(n int, pins [][]byte, host string) (*sockets, error) {
	s := &sockets{tls: &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: host,
		InsecureSkipVerify: true, //nolint:gosec // the announced hash takes the place of the chain
		VerifyConnection: func(c tls.ConnectionState) error {
			sum := sha256.Sum256(c.PeerCertificates[0].Raw)
			if !slices.ContainsFunc(pins, func(p []byte) bool { return string(p) == string(sum[:]) }) {
				return errors.New("certificate is not one that was announced")
			}
			return nil
		},
	}}
	for range n {
		sock, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, fmt.Errorf("open socket: %w", err)
		}
		// Many listeners share it.
		_ = sock.SetReadBuffer(7 << 20)  // what the system grants
		_ = sock.SetWriteBuffer(7 << 20) // what the system grants
		s.all = append(s.all, &quic.Transport{Conn: sock})
	}
	return s, nil
}

// The windows are those of a player that holds half a minute of sound and reads at once.
const (
	streamWindow = 1 << 20
	connWindow   = 2 << 20
	idleTimeout  = 60 * time.Second
	keepAlive    = 15 * time.Second
)

func (s *sockets) dialQUIC(ctx context.Context, n int, addr string) (link, error) {
	to, err := net.ResolveUDPAddr("udp4", addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	config := s.tls.Clone()
	config.NextProtos = []string{"segue/1"}
	conn, err := s.all[n%len(s.all)].Dial(ctx, to, config, &quic.Config{
		KeepAlivePeriod: keepAlive, MaxIdleTimeout: idleTimeout, MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
		InitialStreamReceiveWindow: streamWindow, InitialConnectionReceiveWindow: connWindow,
	})
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return quicLink{conn}, nil
}

type quicLink struct{ c *quic.Conn }

func (l quicLink) open(ctx context.Context) (bidi, error) {
	st, err := l.c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	return quicStream{st}, nil
}

func (l quicLink) close() { _ = l.c.CloseWithError(0, "") }

type quicStream struct{ *quic.Stream }

func (s quicStream) cancel() {
	s.CancelRead(quic.StreamErrorCode(wire.Cancelled))
	_ = s.Close() // it is broken off either way
}

func (s *sockets) dialWebTransport(ctx context.Context, n int, url, origin string) (link, error) {
	config := s.tls.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	tr := &webtransport.Transport{
		TLSClientConfig: config, ApplicationProtocols: []string{"segue/1"},
		QUICConfig: &quic.Config{
			EnableDatagrams: true, EnableStreamResetPartialDelivery: true, KeepAlivePeriod: keepAlive, MaxIdleTimeout: idleTimeout,
			InitialStreamReceiveWindow: streamWindow, InitialConnectionReceiveWindow: connWindow,
		},
		DialAddr: func(ctx context.Context, addr string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
			to, err := net.ResolveUDPAddr("udp4", addr)
			if err != nil {
				return nil, err
			}
			return s.all[n%len(s.all)].DialEarly(ctx, to, t, q)
		},
	}
	res, sess, err := tr.Dial(ctx, url, http.Header{"Origin": {origin}}) //nolint:bodyclose // the session's stream
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("dial: %s", res.Status)
	}
	return sessionLink{sess}, nil
}

type sessionLink struct{ s *webtransport.Session }

func (l sessionLink) open(ctx context.Context) (bidi, error) {
	st, err := l.s.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	return sessionStream{st}, nil
}

func (l sessionLink) close() { _ = l.s.CloseWithError(0, "") }

type sessionStream struct{ *webtransport.Stream }

func (s sessionStream) cancel() {
	s.CancelRead(webtransport.StreamErrorCode(wire.Cancelled))
	_ = s.Close() // it is broken off either way
}
