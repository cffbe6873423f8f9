package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/edge/gateway"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
	"github.com/segue-music/segue/internal/accesstoken"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/stream/id"
)

// seen is what a target got.
type seen struct {
	target, method, path string
	header               http.Header
	who                  identity.Identity
}

// world is a gateway with a recording service behind each target.
type world struct {
	tb      testing.TB
	deps    gateway.Deps
	gw      *gateway.Gateway
	tokens  *rpc.Tokens
	server  *rpc.Server
	mu      sync.Mutex
	seen    []seen
	refused []string
	answer  func(target string, w http.ResponseWriter, r *http.Request)
}

func config(tb testing.TB, args ...string) gateway.Config {
	tb.Helper()
	var c gateway.Config
	set := flag.NewFlagSet("", flag.ContinueOnError)
	c.RegisterFlags("http", set)
	if err := set.Parse(args); err != nil {
		tb.Fatal(err)
	}
	return c
}

func player() fs.FS {
	return fstest.MapFS{
		"index.html":                {Data: []byte("<!doctype html><title>Segue</title>")},
		"assets/app-1a2b3c4d.js":    {Data: []byte("console.log('hello, hello, hello')")},
		"assets/app-1a2b3c4d.js.br": {Data: []byte("brotli")},
		"assets/app-1a2b3c4d.js.gz": {Data: []byte("gzip")},
		"favicon.svg":               {Data: []byte("<svg/>")},
	}
}

func newWorld(tb testing.TB, change ...func(*gateway.Deps)) *world {
	tb.Helper()
	ring, err := keyring.Open(tb.TempDir(), time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	x := &world{tb: tb, tokens: rpc.NewTokens(ring, time.Now)}
	if x.server, err = rpc.NewServer(rpc.ServerDeps{Tokens: x.tokens, Log: log, Now: time.Now}); err != nil {
		tb.Fatal(err)
	}
	x.deps = gateway.Deps{
		Config: config(tb), Backends: map[string]gateway.Backend{}, Static: player(), Mint: x.tokens.Mint,
		Log: log, Now: time.Now, NewID: func() string { return id.New(time.Now(), rand{}).String() },
		Verify: func(_ context.Context, token string) (accesstoken.Claims, error) {
			role, ok := authv1.Role_value["ROLE_"+strings.ToUpper(strings.TrimPrefix(token, "token-"))]
			if !ok || token == "token-unspecified" {
				return accesstoken.Claims{}, accesstoken.ErrInvalid
			}
			return accesstoken.Claims{UserID: "u-" + token, LoginID: "login", Roles: []authv1.Role{authv1.Role(role)}}, nil
		},
		OnRefused: func(ctx context.Context, procedure, reason string) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.refused = append(x.refused, procedure+": "+reason+": "+identity.From(ctx).UserID)
		},
	}
	for _, target := range []string{"user", "metadata", "upload", "playback", "collect", "warehouse", "charts", "edge"} {
		x.back(target, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { x.record(target, w, r) }))
	}
	for _, f := range change {
		f(&x.deps)
	}
	return x.build()
}

// back puts a handler behind a target, in process.
func (x *world) back(target string, h http.Handler) {
	base, _ := url.Parse("http://" + target)
	x.deps.Backends[target] = gateway.Backend{Base: base, Transport: &rpc.InProcess{Handler: x.server.Authenticate(target, h), Log: x.deps.Log}}
}

func (x *world) build() *world {
	gw, err := gateway.New(x.deps)
	if err != nil {
		x.tb.Fatal(err)
	}
	x.gw = gw
	return x
}

func (x *world) record(target string, w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	x.seen = append(x.seen, seen{target, r.Method, r.URL.Path, r.Header.Clone(), identity.From(r.Context())})
	x.mu.Unlock()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	if x.answer != nil {
		x.answer(target, w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, target)
}

func (x *world) took() []seen {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := x.seen
	x.seen = nil
	return all
}

// listen serves the gateway on loopback until the test ends.
func (x *world) listen() string {
	x.tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		x.tb.Fatal(err)
	}
	x.serve(ln)
	return ln.Addr().String()
}

func (x *world) serve(ln net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.gw.Serve(ctx, ln, nil) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			x.tb.Errorf("serve: %v", err)
		}
	})
	x.tb.Cleanup(stop)
	return stop
}

// raw sends bytes as they are and reads one answer.
func raw(tb testing.TB, addr, request string) *http.Response {
	tb.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		tb.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		tb.Fatalf("%.60q: %v", request, err)
	}
	return res
}

// audit is the warehouse's real contract with methods that a test sets.
type audit struct {
	warehousev1connect.UnimplementedAuditServiceHandler
	search func(context.Context, *connect.ServerStream[warehousev1.SearchEventsResponse]) error
}

func (a *audit) SearchEvents(ctx context.Context, _ *warehousev1.SearchEventsRequest, s *connect.ServerStream[warehousev1.SearchEventsResponse]) error {
	return a.search(ctx, s)
}

func (a *audit) FlushLake(ctx context.Context, _ *warehousev1.FlushLakeRequest) (*warehousev1.FlushLakeResponse, error) {
	return &warehousev1.FlushLakeResponse{Files: []string{identity.From(ctx).UserID}}, nil
}

type rand struct{}

func (rand) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(time.Now().UnixNano() >> (i % 8))
	}
	return len(b), nil
}

var errBoom = errors.New("boom")
