// Package client plays tracks over segue/1.
//
// A [Session] is opened with what OpenSession of segue.playback.v1 answered: a ticket, a
// session key, endpoints. [Session.Play] then gives decrypted Ogg pages with exact
// sample positions, over QUIC, or over HTTP where UDP is blocked: the two are raced, and
// a play that breaks off goes on by itself where it stopped.
//
// The package decodes no audio. [Stream.Setup] followed by the pages of the records is
// an Ogg Vorbis stream that any decoder takes.
package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// Endpoint is one place to stream from.
type Endpoint struct {
	// QUIC is host:port for ALPN segue/1, empty where there is none.
	QUIC string
	// CertificateSHA256 are the hashes of the leaf certificates to accept, of their DER.
	// With none, the certificate must be one for the host, from a known authority.
	CertificateSHA256 [][]byte
	// Fallback is the URL of POST /stream/v1/play, empty where there is none.
	Fallback string
}

// Config is what a Session is opened with. SessionID, Ticket, SessionKey and one
// Endpoint have to be there.
type Config struct {
	SessionID [16]byte
	// SessionKey is the key that OpenSession sealed to this device; see
	// [seal.OpenSessionKey].
	SessionKey [16]byte
	Ticket     []byte
	// TicketExpires is when the ticket runs out. Zero: renewed only when refused.
	TicketExpires time.Time
	// RenewTicket gives a fresh ticket. Without it a session ends with its ticket.
	RenewTicket func(ctx context.Context) (ticket []byte, expires time.Time, err error)
	// Endpoints in the order of preference.
	Endpoints []Endpoint

	// FallbackAfter is how long QUIC may take to answer before the fallback is tried
	// beside it; 0 is 150 ms.
	FallbackAfter time.Duration
	// HTTP is the client of the fallback; nil is one with HTTP/2.
	HTTP *http.Client
	// Resumption keeps what the next connection can start with at once. Sessions may
	// share one; nil is one of this session's own.
	Resumption *Resumption
	// Random, Now and Log default to crypto/rand, time.Now and no log.
	Random io.Reader
	Now    func() time.Time
	Log    *slog.Logger
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("client: session is closed")

// Session plays for one device. Its methods may be called concurrently.
type Session struct {
	cfg Config

	mu       sync.Mutex
	closed   bool
	ticket   []byte
	expires  time.Time
	renewing *renewal
	keys     map[[16]byte][16]byte // content keys by object
	objects  map[playKey][16]byte  // what the last PLAY got
	setups   map[[8]byte][]byte
	setupIDs [][8]byte // newest first

	network
}

// playKey is what a PLAY asks for.
type playKey struct {
	track   [16]byte
	quality wire.Quality
}

// Open makes a Session. It touches no network; Connect does, and so does the first
// Play.
func Open(cfg Config) (*Session, error) {
	if len(cfg.Ticket) == 0 || len(cfg.Ticket) > wire.MaxTicket {
		return nil, fmt.Errorf("open stream session: ticket of %d bytes", len(cfg.Ticket))
	}
	usable := false
	for _, e := range cfg.Endpoints {
		usable = usable || e.QUIC != "" || e.Fallback != ""
	}
	if !usable {
		return nil, errors.New("open stream session: no endpoint")
	}
	if cfg.FallbackAfter == 0 {
		cfg.FallbackAfter = 150 * time.Millisecond
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Transport: fallbackTransport()}
	}
	if cfg.Resumption == nil {
		cfg.Resumption = NewResumption()
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Session{
		cfg: cfg, ticket: cfg.Ticket, expires: cfg.TicketExpires,
		keys: map[[16]byte][16]byte{}, objects: map[playKey][16]byte{}, setups: map[[8]byte][]byte{},
	}, nil
}

// Close ends the connection and all plays.
func (s *Session) Close() error {
	s.mu.Lock()
	s.closed = true
	conn, transport := s.conn, s.transport
	s.conn, s.transport = nil, nil
	s.mu.Unlock()
	var err error
	if conn != nil {
		err = conn.CloseWithError(0, "")
	}
	if transport != nil {
		err = errors.Join(err, transport.Close(), transport.Conn.Close())
	}
	s.cfg.HTTP.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("close stream session: %w", err)
	}
	return nil
}

// remember keeps what HEAD brought: the setup and the key.
func (s *Session) remember(key playKey, h *wire.Head) (setup []byte, base [16]byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	setup = h.Setup
	if len(setup) == 0 {
		setup = s.setups[h.SetupID]
	}
	if seal.SetupID(setup) != h.SetupID {
		return nil, base, wire.Errorf(wire.BadFrame, "HEAD: setup has another id")
	}
	if _, ok := s.setups[h.SetupID]; !ok {
		s.setups[h.SetupID] = setup
		s.setupIDs = append([][8]byte{h.SetupID}, s.setupIDs...)
		for len(s.setupIDs) > wire.MaxSetups {
			last := len(s.setupIDs) - 1
			delete(s.setups, s.setupIDs[last])
			s.setupIDs = s.setupIDs[:last]
		}
	}
	base, ok := s.keys[h.ObjectID]
	if len(h.WrappedKey) > 0 {
		base, err = seal.UnwrapKey(s.cfg.SessionKey, h.WrappedKey, h.ObjectID, h.SealID, h.KID, s.cfg.SessionID)
		if err != nil {
			return nil, base, err
		}
	} else if !ok {
		return nil, base, errNoKey
	}
	const most = 256
	if len(s.keys) >= most {
		clear(s.keys)
		clear(s.objects)
	}
	s.keys[h.ObjectID] = base
	s.objects[key] = h.ObjectID
	return setup, base, nil
}

// errNoKey says that the server left out a key that this client does not have: the
// track has a new object since.
var errNoKey = errors.New("client: key of the object is not known")

// forget makes the next PLAY ask for the key.
func (s *Session) forget(key playKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

// known reports whether the client has the key of what key got last, and which
// setups it has.
func (s *Session) known(key playKey) (bool, [][8]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, ok := s.objects[key]
	if ok {
		_, ok = s.keys[object]
	}
	return ok, append([][8]byte(nil), s.setupIDs...)
}

// Resumption keeps TLS session tickets and QUIC address tokens: with both, the first
// PLAY of a new connection travels in the first packet (0-RTT).
type Resumption struct {
	tls    *sessionCache
	tokens quic.TokenStore
}

// NewResumption makes an empty one, in memory.
func NewResumption() *Resumption {
	return &Resumption{tls: newSessionCache(), tokens: quic.NewLRUTokenStore(16, 4)}
}
