package upload_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/sqlite"
	"github.com/segue-music/segue/stream/id"
)

const (
	adminID  = "000000000000000000ADMI"
	artistID = "0000000000000000000ART"
	otherID  = "00000000000000000OTHER"
)

// world is all that outlives a crash of the service, and the services around it.
type world struct {
	dir    string
	others *others
	blobs  blob.Store
	runner *ffmpeg.Runner
	cfg    upload.Config
	clock  func() time.Time
	jitter func() float64
	noFP   bool
	space  func() error // nil is always room
	inbox  upload.Inbox
	bucket upload.BucketConfig
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), others: newOthers(), clock: time.Now, jitter: func() float64 { return 0 }}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	w.cfg.RegisterFlags("upload", fs)
	w.cfg.Settle, w.cfg.Workers = 20*time.Millisecond, 1
	blobs, err := localblob.Open(filepath.Join(w.dir, "blob"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = blobs.Close() })
	w.blobs = blobs
	w.runner = newRunner(t, time.Minute)
	return w
}

func newRunner(t testing.TB, longest time.Duration) *ffmpeg.Runner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := ffmpeg.New(t.Context(), ffmpeg.Config{Self: self, SelfArgs: []string{"sandbox-exec"}, MaxDuration: longest})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// running is one life of the service.
type running struct {
	*upload.Service
	w      *world
	store  *sqlite.Store
	server *rpctest.Server
	log    event.Log
	stop   func()
}

// start brings the service up; stop ends it, as a crash or a shutdown does.
func (w *world) start(t testing.TB) *running {
	t.Helper()
	r := w.build(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	closeAll := r.stop
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			closeAll()
		})
	}
	t.Cleanup(r.stop)
	return r
}

// deps are those of one life of the service.
func (w *world) deps(t testing.TB, store upload.Store) upload.Deps {
	as := rpctest.New(t, w.others.handler).As(identity.Identity{Target: "upload"})
	d := upload.Deps{
		Config: w.cfg, Store: store, Blob: w.blobs, Dir: filepath.Join(w.dir, "upload"),
		Metadata: metadatav1connect.NewIngestServiceClient(as, rpctest.URL),
		Keys:     playbackv1connect.NewKeyServiceClient(as, rpctest.URL),
		FFmpeg:   w.runner, Fingerprints: &fingerprint.Calculator{},
		WatchOwner: func(context.Context) (string, error) { return adminID, nil },
		Log:        slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Now:        w.clock, NewID: func() string { return id.New(w.clock(), rand.Reader).String() },
		Random: rand.Reader, Jitter: w.jitter, Space: w.space,
	}
	d.Inbox, d.Bucket = w.inbox, w.bucket
	if w.noFP {
		d.Fingerprints = nil
	}
	if d.Space == nil {
		d.Space = func() error { return nil }
	}
	return d
}

func (w *world) open(t testing.TB) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(w.dir, "upload.db"), sqlite.Options{Log: slog.New(slog.DiscardHandler), Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// try makes a service that is expected to refuse.
func (w *world) try(t *testing.T) (*upload.Service, error) {
	t.Helper()
	store := w.open(t)
	defer store.Close()
	return upload.New(w.deps(t, store))
}

// build makes the service without running its work.
func (w *world) build(t testing.TB) *running {
	t.Helper()
	store := w.open(t)
	s, err := upload.New(w.deps(t, store))
	if err != nil {
		t.Fatal(err)
	}
	events, err := locallog.Open(filepath.Join(w.dir, "log"), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Service: s, w: w, store: store, server: rpctest.New(t, s.Handler), log: events}
	ctx, cancel := context.WithCancel(context.Background())
	relayed := make(chan error, 1)
	go func() { relayed <- store.Relay(events, slog.New(slog.DiscardHandler)).Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-relayed, s.Close(), store.Close(), events.Close()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func as(userID string, roles ...authv1.Role) identity.Identity {
	return identity.Identity{Target: "gateway", UserID: userID, Roles: roles}
}

func artist() identity.Identity { return as(artistID, authv1.Role_ROLE_ARTIST) }
func admin() identity.Identity  { return as(adminID, authv1.Role_ROLE_ADMIN) }

func (r *running) client(who identity.Identity) uploadv1connect.UploadServiceClient {
	return uploadv1connect.NewUploadServiceClient(r.server.As(who), rpctest.URL)
}

// do sends one request of the tus protocol.
func (r *running) do(t testing.TB, who identity.Identity, method, path string, body []byte, header map[string]string) *http.Response {
	t.Helper()
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, rpctest.URL+path, in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := r.server.As(who).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body = io.NopCloser(bytes.NewReader(text))
	return res
}

// until waits for an upload to fulfil a condition.
func (r *running) until(t testing.TB, uploadID string, ok func(upload.Upload) bool) upload.Upload {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		u, err := r.store.Get(t.Context(), uploadID)
		if err != nil {
			t.Fatal(err)
		}
		if ok(u) {
			return u
		}
		if time.Now().After(deadline) {
			t.Fatalf("upload is still %+v", u)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // until the condition holds
	}
}

// eventually waits until check finds nothing.
func (r *running) eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // until the condition holds
	}
}

func in(states ...upload.State) func(upload.Upload) bool {
	return func(u upload.Upload) bool {
		for _, s := range states {
			if u.State == s && u.Lease == "" {
				return true
			}
		}
		return false
	}
}

// events are all that the service published about an upload so far, in order.
func (r *running) events(t *testing.T, uploadID string) []*eventv1.Envelope {
	t.Helper()
	for {
		n, err := r.store.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		time.Sleep(2 * time.Millisecond) //nolint:forbidigo // until the condition holds
	}
	var out []*eventv1.Envelope
	for rec, err := range r.log.Read(t.Context(), event.Upload, 0, 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Unmarshal(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		if e.GetSubject() == "upload:"+uploadID {
			out = append(out, e)
		}
	}
	return out
}

// makeAudio runs the bare ffmpeg to make a file of a sound that seed varies.
func makeAudio(t testing.TB, ext string, seconds, seed int, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "a."+ext)
	base := []string{
		"-v", "error", "-nostdin", "-f", "lavfi", "-i",
		sound(seconds, seed), "-ac", "2", "-ar", "44100",
	}
	cmd := exec.Command("ffmpeg", append(append(base, args...), out)...)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg (a requirement of Segue): %v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
