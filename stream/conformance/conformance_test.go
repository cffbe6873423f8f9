package conformance_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/segue-music/segue/stream/conformance"
	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/server/overquic"
	"github.com/segue-music/segue/stream/wire"
)

func newServer(w *conformance.World) *server.Server {
	return server.New(server.Deps{Tickets: w, Objects: w, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
}

func TestServer_Memory(t *testing.T) {
	w := conformance.NewWorld(t, 46)
	conformance.Server(t, func(*testing.T) conformance.Fixture {
		f := w.Fixture()
		f.Dial = conformance.Memory(newServer(w))
		return f
	})
}

func TestServer_QUIC(t *testing.T) {
	w := conformance.NewWorld(t, 46)
	conformance.Server(t, func(t *testing.T) conformance.Fixture {
		f := w.Fixture()
		f.Dial = overQUIC(t, newServer(w))
		return f
	})
}

// overQUIC listens on loopback until the test ends.
func overQUIC(t *testing.T, s *server.Server) func(testing.TB) conformance.Conn {
	cert, hash := certificate(t)
	sock, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: sock}
	ln, err := tr.ListenEarly(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{overquic.ALPN}}, &quic.Config{Allow0RTT: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept(ctx)
			if err != nil {
				return
			}
			conns.Go(func() { overquic.Serve(ctx, s, c) })
		}
	})
	t.Cleanup(func() {
		cancel()
		conns.Wait()
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		if err := sock.Close(); err != nil {
			t.Error(err)
		}
	})
	_ = hash
	return func(tb testing.TB) conformance.Conn {
		c, err := quic.DialAddr(ctx, sock.LocalAddr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{overquic.ALPN}}, nil)
		if err != nil {
			tb.Fatal(err)
		}
		return quicConn{c}
	}
}

type quicConn struct{ c *quic.Conn }

func (q quicConn) Close() { _ = q.c.CloseWithError(0, "") }

func (q quicConn) Open(tb testing.TB) conformance.Stream {
	st, err := q.c.OpenStreamSync(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return quicStream{st}
}

type quicStream struct{ *quic.Stream }

func (s quicStream) Cancel(code wire.Code) {
	s.CancelRead(quic.StreamErrorCode(code))
	s.CancelWrite(quic.StreamErrorCode(code))
}

func certificate(tb testing.TB) (tls.Certificate, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, sum[:]
}
