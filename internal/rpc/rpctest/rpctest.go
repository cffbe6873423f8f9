// Package rpctest runs a service's handler in process behind the real interceptors, so
// that a test calls it as any identity.
package rpctest

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc"
)

// URL is the base of the generated clients.
const URL = "http://service.test"

const audience = "test"

// Server is a handler under test.
type Server struct {
	tokens    *rpc.Tokens
	transport http.RoundTripper
}

// New starts handler with the options of a real server.
func New(tb testing.TB, handler func(...connect.HandlerOption) http.Handler) *Server {
	tb.Helper()
	ring, err := keyring.Open(tb.TempDir(), time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	tokens := rpc.NewTokens(ring, time.Now)
	log := slog.New(slog.NewTextHandler(tb.Output(), nil))
	srv, err := rpc.NewServer(rpc.ServerDeps{Tokens: tokens, Log: log, Now: time.Now})
	if err != nil {
		tb.Fatal(err)
	}
	h := srv.Authenticate(audience, handler(srv.Options()...))
	return &Server{tokens: tokens, transport: &rpc.InProcess{Handler: h, Log: log}}
}

// As is the client of one identity; the zero identity sends no token at all. Plain
// routes are reached by its Do.
func (s *Server) As(i identity.Identity) connect.HTTPClient { return &client{s, i} }

type client struct {
	s   *Server
	who identity.Identity
}

func (c *client) Do(req *http.Request) (*http.Response, error) {
	if c.who.Target == "" && c.who.UserID == "" {
		return c.s.transport.RoundTrip(req)
	}
	token, err := c.s.tokens.Mint(audience, c.who)
	if err != nil {
		return nil, err
	}
	req.Header.Set(rpc.Header, token)
	return c.s.transport.RoundTrip(req)
}
