package tus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"golang.org/x/exp/slog" // what tusd takes
)

// newServer is tusd's own handler before a folder; wrap may spoil requests.
func newServer(t *testing.T, wrap func(http.Handler) http.Handler) (*Client, string) {
	t.Helper()
	dir := t.TempDir()
	composer := handler.NewStoreComposer()
	filestore.New(dir).UseIn(composer)
	memorylocker.New().UseIn(composer)
	h, err := handler.NewHandler(handler.Config{
		StoreComposer: composer, BasePath: "/upload/v1/files/", MaxSize: 1 << 20, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(wrap(http.StripPrefix("/upload/v1/files/", h)))
	t.Cleanup(srv.Close)
	at, err := url.Parse(srv.URL + "/upload/v1/files/")
	if err != nil {
		t.Fatal(err)
	}
	return &Client{
		HTTP: srv.Client(), Endpoint: at, Chunk: 100_000,
		Pause: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}, dir
}

func plain(h http.Handler) http.Handler { return h }

func content(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b) // never fails
	return b
}

// arrived checks what tusd stored.
func arrived(t *testing.T, dir string, at *url.URL, want []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, path.Base(at.Path)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, want the %d sent", len(got), len(want))
	}
}

func TestClient_Sends(t *testing.T) {
	for _, size := range []int{1, 99_999, 100_000, 100_001, 750_000} {
		c, dir := newServer(t, plain)
		want := content(size)
		at, err := c.Create(t.Context(), int64(size), map[string]string{"filename": "Größe, 1.flac", "a": ""})
		if err != nil {
			t.Fatal(err)
		}
		var last int64
		if err := c.Send(t.Context(), at, bytes.NewReader(want), int64(size), func(n int64) { last = n }); err != nil {
			t.Fatal(err)
		}
		if last != int64(size) {
			t.Errorf("progress ended at %d of %d", last, size)
		}
		arrived(t, dir, at, want)
		info, err := os.ReadFile(filepath.Join(dir, path.Base(at.Path)+".info"))
		if err != nil || !strings.Contains(string(info), "Größe, 1.flac") {
			t.Errorf("metadata: %s, %v", info, err)
		}
	}
}

// cut breaks the connection of some requests after a part of their body.
type cut struct {
	next  http.Handler
	every int64
	n     atomic.Int64
}

func (c *cut) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPatch && c.n.Add(1)%c.every != 0 {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r.Body, 30_000), broken{}), r.Body}
		c.next.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	}
	c.next.ServeHTTP(w, r)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestClient_Resumes(t *testing.T) {
	c, dir := newServer(t, func(h http.Handler) http.Handler { return &cut{next: h, every: 12} })
	want := content(900_000)
	at, err := c.Create(t.Context(), int64(len(want)), nil)
	if err != nil {
		t.Fatal(err)
	}
	// More connections break than are given up after: each gets on by something.
	if err := c.Send(t.Context(), at, bytes.NewReader(want), int64(len(want)), nil); err != nil {
		t.Fatal(err)
	}
	arrived(t, dir, at, want)
}

// A second run goes on where the first one was when it ended.
func TestClient_AnotherRun(t *testing.T) {
	c, dir := newServer(t, plain)
	want := content(500_000)
	at, err := c.Create(t.Context(), int64(len(want)), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Send(ctx, at, bytes.NewReader(want), int64(len(want)), func(n int64) {
		if n >= 300_000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	first := int64(-1)
	err = c.Send(t.Context(), at, bytes.NewReader(want), int64(len(want)), func(n int64) {
		if first < 0 {
			first = n
		}
	})
	if err != nil || first < 200_000 {
		t.Errorf("it began again at byte %d: %v", first, err)
	}
	arrived(t, dir, at, want)
}

// TestClient_Interrupted: a request of the last run that comes late ends ours, which is
// sent again from where the server is.
func TestClient_Interrupted(t *testing.T) {
	var patches atomic.Int64
	c, dir := newServer(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPatch && patches.Add(1) == 3 {
				w.Header().Set("Content-Type", "text/plain; charset=utf-8")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, "ERR_UPLOAD_INTERRUPTED: upload has been interrupted by another request for this upload resource\n")
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	want := content(500_000)
	at, err := c.Create(t.Context(), int64(len(want)), nil)
	if err == nil {
		err = c.Send(t.Context(), at, bytes.NewReader(want), int64(len(want)), nil)
	}
	if err != nil || patches.Load() != 6 {
		t.Fatalf("%v after %d requests", err, patches.Load())
	}
	arrived(t, dir, at, want)
}

func TestClient_Hopeless(t *testing.T) {
	var requests atomic.Int64
	c, _ := newServer(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			h.ServeHTTP(w, r)
		})
	})
	_, err := c.Create(t.Context(), 2<<20, nil)
	var refusal *RefusalError
	if !errors.As(err, &refusal) || refusal.Status != http.StatusRequestEntityTooLarge || requests.Load() != 1 {
		t.Errorf("too large: %v after %d requests", err, requests.Load())
	}
	err = c.Send(t.Context(), c.Endpoint.JoinPath("unknown"), bytes.NewReader(nil), 0, nil)
	if !errors.Is(err, ErrGone) || requests.Load() != 2 {
		t.Errorf("unknown: %v after %d requests", err, requests.Load())
	}
	at, err := c.Create(t.Context(), 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), at, bytes.NewReader(content(11)), 11, nil); err == nil {
		t.Error("another file: no error")
	}
}

func TestClient_GivesUp(t *testing.T) {
	var requests atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Retry-After", "7")
		http.Error(w, "being prepared", http.StatusServiceUnavailable)
	}))
	t.Cleanup(srv.Close)
	at, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	var waited time.Duration
	c := &Client{HTTP: srv.Client(), Endpoint: at, Pause: func(_ context.Context, d time.Duration) error { waited += d; return nil }}
	_, err = c.Create(t.Context(), 5, nil)
	if err == nil || !strings.Contains(err.Error(), "being prepared") || requests.Load() != attempts || waited < 7*7*time.Second {
		t.Errorf("%v after %d requests and %v", err, requests.Load(), waited)
	}
}

func TestClient_Stalls(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Upload-Offset", "0")
			w.Header().Set("Upload-Length", "50000000")
			return
		}
		<-release
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	at, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{HTTP: srv.Client(), Endpoint: at, Stall: 20 * time.Millisecond, Pause: func(context.Context, time.Duration) error { return nil }}
	if err := c.Send(t.Context(), at, bytes.NewReader(make([]byte, 50_000_000)), 50_000_000, nil); !errors.Is(err, errStalled) {
		t.Errorf("error is %v", err)
	}
}
