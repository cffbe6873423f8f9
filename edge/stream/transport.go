package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/server/overquic"
	"github.com/segue-music/segue/stream/wire"
)

const (
	idleTimeout = 60 * time.Second
	// tokenAge bounds how long an address token saves a client the 3x limit.
	tokenAge = time.Hour
	// What a client sends is small: a PLAY, a CREDIT now and then.
	streamWindow, connWindow = 64 << 10, 256 << 10
	streamsPerConn           = 64
	// uniStreams are HTTP/3's own three, and some to spare.
	uniStreams = 8
)

// transport is one UDP socket with everything that speaks QUIC on it.
type transport struct {
	s    *Service
	addr *net.UDPAddr
	sock *net.UDPConn
	quic *quic.Transport
	tls  *tls.Config
	ln   *quic.EarlyListener
	wt   *webtransport.Server
	door *admission
}

func (s *Service) openTransport() (*transport, error) {
	t := &transport{s: s, door: newAdmission(&s.cfg, s.deps.Now, s.metrics)}
	t.tls = &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{overquic.ALPN, http3.NextProtoH3},
		GetCertificate: s.certs.current, Time: s.deps.Now,
	}
	if err := t.refreshKeys(); err != nil {
		return nil, err
	}
	tokens, err := s.deps.Ring.Keys(keyring.QUICToken)
	if err != nil {
		return nil, fmt.Errorf("read address token key: %w", err)
	}
	addr, err := net.ResolveUDPAddr("udp", s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", s.cfg.Listen, err)
	}
	// A real UDPConn: a wrapper would cost GSO, ECN and DF.
	if t.sock, err = net.ListenUDP("udp", addr); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	t.addr = t.sock.LocalAddr().(*net.UDPAddr)
	token := quic.TokenGeneratorKey(tokens[0].Derive("quic address token"))
	// A restarted edge tells the clients of the one before that it knows them no more.
	reset := quic.StatelessResetKey(tokens[0].Derive("quic stateless reset", []byte(s.cfg.EdgeID)))
	t.quic = &quic.Transport{
		Conn: t.sock, TokenGeneratorKey: &token, StatelessResetKey: &reset, MaxTokenAge: tokenAge,
		VerifySourceAddress: t.door.verify, ConnContext: t.door.begin,
	}
	t.ln, err = t.quic.ListenEarly(t.tls, &quic.Config{
		Allow0RTT: true, EnableDatagrams: true, EnableStreamResetPartialDelivery: true,
		MaxIdleTimeout: idleTimeout, MaxIncomingStreams: streamsPerConn, MaxIncomingUniStreams: uniStreams,
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: streamWindow,
		InitialConnectionReceiveWindow: connWindow, MaxConnectionReceiveWindow: connWindow,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), t.sock.Close())
	}
	t.wt = t.webTransport()
	return t, nil
}

// webTransport is HTTP/3 with its sessions. All WT_INITIAL_MAX_* are sent: iOS Safari
// refuses a server that leaves one out.
func (t *transport) webTransport() *webtransport.Server {
	mux := http.NewServeMux()
	h3 := &http3.Server{
		Handler: t.afterHandshake(mux), IdleTimeout: idleTimeout, MaxHeaderBytes: 16 << 10,
		ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		Logger: t.s.deps.Log,
	}
	wt := &webtransport.Server{
		H3: h3,
		Config: &webtransport.Config{
			MaxIncomingStreams: streamsPerConn, MaxIncomingUniStreams: 1, MaxIncomingData: connWindow,
		},
		ApplicationProtocols: []string{overquic.ALPN},
		CheckOrigin:          func(r *http.Request) bool { return originAllowed(r.Header.Get("Origin"), t.s.origins()) },
	}
	mux.HandleFunc(sessionPath, func(w http.ResponseWriter, r *http.Request) {
		sess, err := wt.Upgrade(w, r)
		if err != nil {
			t.s.deps.Log.DebugContext(r.Context(), "session was refused", "err", err, "origin", r.Header.Get("Origin"))
			w.WriteHeader(http.StatusForbidden)
			return
		}
		overquic.ServeSession(sess.Context(), t.s.web, sess)
	})
	mux.Handle("/", t.s.Handler())
	return wt
}

type connKey struct{}

// afterHandshake answers 425 to what came in early data: HTTP/3 would let a POST run
// that anyone may replay.
func (t *transport) afterHandshake(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connKey{}).(*quic.Conn)
		if !ok {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		select {
		case <-c.HandshakeComplete():
			next.ServeHTTP(w, r)
		default:
			w.WriteHeader(http.StatusTooEarly)
		}
	})
}

// refreshKeys takes the TLS session ticket keys from the ring, so that 0-RTT survives
// a restart and works on every edge.
func (t *transport) refreshKeys() error {
	keys, err := t.s.deps.Ring.Keys(keyring.TLSTicket)
	if err != nil {
		return fmt.Errorf("read session ticket keys: %w", err)
	}
	derived := make([][32]byte, len(keys))
	for i, k := range keys {
		derived[i] = k.Derive("quic session ticket")
	}
	t.tls.SetSessionTicketKeys(derived)
	return nil
}

// serve accepts connections until ctx ends, and returns when all have ended.
func (t *transport) serve(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := t.ln.Accept(ctx)
		if err != nil {
			return
		}
		wg.Go(func() { t.serveConn(ctx, conn) })
		wg.Go(func() {
			if !t.door.prove(conn) {
				_ = overquic.Close(conn, wire.RateLimited) // it is refused either way
			}
		})
	}
}

func (t *transport) serveConn(ctx context.Context, conn *quic.Conn) {
	alpn := conn.ConnectionState().TLS.NegotiatedProtocol
	open := t.s.metrics.conns.WithLabelValues(alpn)
	open.Inc()
	defer open.Dec()
	code := wire.Code(0)
	switch alpn {
	case overquic.ALPN:
		overquic.Serve(ctx, t.s.quic, conn)
		code = wire.Draining
	case http3.NextProtoH3:
		unhook := context.AfterFunc(ctx, func() { _ = overquic.Close(conn, 0) })
		if err := t.wt.ServeQUICConn(conn); err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.s.deps.Log.DebugContext(ctx, "http/3 connection ended", "err", err)
		}
		unhook()
	}
	_ = overquic.Close(conn, code) // nothing to be done about a connection that ended
}

// lingerTime is for the last frames to arrive: closing a connection takes back what
// is still on its way.
const lingerTime = 300 * time.Millisecond

// linger waits until the clients have left, a moment at most.
func (t *transport) linger(ctx context.Context) {
	end := time.NewTimer(lingerTime)
	defer end.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		if t.door.open() == 0 {
			return
		}
		select {
		case <-look.C:
		case <-end.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (t *transport) close() error {
	err := errors.Join(t.ln.Close(), t.wt.Close(), t.quic.Close(), t.sock.Close())
	if errors.Is(err, net.ErrClosed) || errors.Is(err, quic.ErrTransportClosed) {
		return nil
	}
	return err
}

var _ server.Tickets = (*Service)(nil)
