package stream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"

	"github.com/segue-music/segue/stream/conformance"
	"github.com/segue-music/segue/stream/wire"
)

func TestConformance(t *testing.T) {
	w := conformance.NewWorld(t, 46)
	t.Run("quic", func(t *testing.T) {
		conformance.Server(t, func(t *testing.T) conformance.Fixture {
			e := newEdge(t, w)
			f := e.fixture()
			f.Dial = e.dialQUIC
			return f
		})
	})
	t.Run("webtransport", func(t *testing.T) {
		conformance.Server(t, func(t *testing.T) conformance.Fixture {
			e := newEdge(t, w)
			f := e.fixture()
			f.Dial = e.dialSession
			return f
		})
	})
	t.Run("fallback", func(t *testing.T) {
		conformance.Server(t, func(t *testing.T) conformance.Fixture {
			e := newEdge(t, w)
			f := e.fixture()
			f.OneRequest = true
			f.Dial = func(testing.TB) conformance.Conn { return httpConn{e} }
			return f
		})
	})
}

func (e *edge) dialQUIC(tb testing.TB) conformance.Conn {
	c, err := quic.DialAddr(tb.Context(), e.endpoint().QUIC, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"segue/1"}}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return quicConn{c}
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

// dialSession opens a session of WebTransport as a page of the site would.
func (e *edge) dialSession(tb testing.TB) conformance.Conn {
	sess, close, err := e.session(tb.Context(), "https://music.example")
	if err != nil {
		tb.Fatal(err)
	}
	return sessionConn{sess, close}
}

func (e *edge) session(ctx context.Context, origin string) (*webtransport.Session, func(), error) {
	d := webtransport.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}},
		QUICConfig:      &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true},
	}
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	_, sess, err := d.Dial(ctx, "https://"+e.endpoint().QUIC+"/stream/v1/wt", header)
	if err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	return sess, func() { _ = sess.CloseWithError(0, ""); _ = d.Close() }, nil
}

type sessionConn struct {
	sess  *webtransport.Session
	close func()
}

func (c sessionConn) Close() { c.close() }

func (c sessionConn) Open(tb testing.TB) conformance.Stream {
	st, err := c.sess.OpenStreamSync(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return sessionStream{st}
}

type sessionStream struct{ *webtransport.Stream }

func (s sessionStream) Cancel(code wire.Code) {
	s.CancelRead(webtransport.StreamErrorCode(code))
	s.CancelWrite(webtransport.StreamErrorCode(code))
}

type httpConn struct{ e *edge }

func (httpConn) Close() {}

// Open makes a request of what is written once that is finished.
func (c httpConn) Open(tb testing.TB) conformance.Stream {
	ctx, cancel := context.WithCancel(tb.Context())
	return &httpStream{e: c.e, ctx: ctx, cancel: cancel}
}

type httpStream struct {
	e      *edge
	ctx    context.Context // that of the one request
	cancel context.CancelFunc
	body   bytes.Buffer
	once   sync.Once
	answer io.ReadCloser
	err    error
}

func (s *httpStream) Write(b []byte) (int, error) { return s.body.Write(b) }
func (s *httpStream) Close() error                { return nil }
func (s *httpStream) Cancel(wire.Code)            { s.cancel() }

func (s *httpStream) Read(b []byte) (int, error) {
	s.once.Do(func() {
		req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.e.endpoint().Fallback, &s.body)
		if err != nil {
			s.err = err
			return
		}
		resp, err := (&http.Client{Transport: insecure()}).Do(req)
		if err != nil {
			s.err = err
			return
		}
		s.answer = resp.Body
	})
	if s.err != nil {
		return 0, s.err
	}
	return s.answer.Read(b)
}
