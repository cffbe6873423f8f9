package warehouse_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
)

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 29, 0, 58, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// keys are listeners' keys in memory.
type keys struct {
	mu   sync.Mutex
	gone map[string]bool
}

func (k *keys) Key(_ context.Context, userID string) (string, [32]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone[userID] {
		return "", [32]byte{}, event.ErrShredded
	}
	return "key-" + userID, [32]byte([]byte(fmt.Sprintf("%-32.32s", userID))), nil
}

func (k *keys) shred(userID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone[userID] = true
}

// world is a warehouse on a real log and a real lake, which it can lose and open again.
type world struct {
	tb    testing.TB
	clock *clock
	keys  *keys
	log   event.Log
	blobs blob.Store
	conf  warehouse.Config

	// What the service sees instead, where a test wants to break it.
	wrapLog   func(event.Log) event.Log
	wrapStore func(warehouse.Store) warehouse.Store

	rpc    *frontend
	svc    *warehouse.Service
	store  warehouse.Store
	client warehousev1connect.AuditServiceClient
	made   int
}

// frontend is what calls go through; it outlives the service, for making one takes longer
// than most tests.
type frontend struct {
	opts    []connect.HandlerOption
	current http.Handler
	client  warehousev1connect.AuditServiceClient
}

func newFrontend(tb testing.TB) *frontend {
	tb.Helper()
	f := &frontend{}
	srv := rpctest.New(tb, func(opts ...connect.HandlerOption) http.Handler {
		f.opts = opts
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.current.ServeHTTP(w, r) })
	})
	admin := identity.Identity{Target: "gateway", UserID: "root", Roles: []authv1.Role{authv1.Role_ROLE_ADMIN}}
	f.client = warehousev1connect.NewAuditServiceClient(srv.As(admin), rpctest.URL)
	return f
}

func newWorld(tb testing.TB, dir string) *world {
	tb.Helper()
	return newWorldBehind(tb, dir, newFrontend(tb))
}

func newWorldBehind(tb testing.TB, dir string, f *frontend) *world {
	tb.Helper()
	w := &world{tb: tb, rpc: f, client: f.client, clock: newClock(), keys: &keys{gone: map[string]bool{}}}
	set := flag.NewFlagSet("", flag.ContinueOnError)
	w.conf.RegisterFlags("warehouse", set)
	if err := set.Parse(nil); err != nil {
		tb.Fatal(err)
	}
	log, err := locallog.Open(dir+"/log", locallog.Options{Now: w.clock.now})
	if err != nil {
		tb.Fatal(err)
	}
	blobs, err := localblob.Open(dir + "/blob")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = log.Close(), blobs.Close() })
	w.log, w.blobs = log, blobs
	return w.open()
}

// open starts the service anew, as after a crash.
func (w *world) open() *world {
	w.tb.Helper()
	store, err := lake.Open(context.Background(), w.blobs, lake.Options{Now: w.clock.now})
	if err != nil {
		w.tb.Fatal(err)
	}
	log := w.log
	w.store = store
	if w.wrapLog != nil {
		log = w.wrapLog(log)
	}
	if w.wrapStore != nil {
		w.store = w.wrapStore(store)
	}
	w.svc, err = warehouse.New(warehouse.Deps{
		Config: w.conf, Store: w.store, Events: log, PersonalKeys: w.keys, Now: w.clock.now,
		Log: slog.New(slog.NewTextHandler(w.tb.Output(), &slog.HandlerOptions{Level: slog.LevelError + 1})),
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.rpc.current = w.svc.Handler(w.rpc.opts...)
	return w
}

// event appends one event; change makes it another one.
func (w *world) event(topic string, payload proto.Message, change ...func(*eventv1.Envelope)) *eventv1.Envelope {
	w.tb.Helper()
	w.made++
	e, err := event.New(fmt.Sprintf("%022d", w.made), w.clock.now(), fmt.Sprintf("user:u%d", w.made%3), uint64(w.made), payload)
	if err != nil {
		w.tb.Fatal(err)
	}
	e.UserId, e.ActorId = fmt.Sprintf("u%d", w.made%3), fmt.Sprintf("a%d", w.made%4)
	for _, f := range change {
		f(e)
	}
	w.append(topic, e)
	return e
}

func (w *world) append(topic string, e *eventv1.Envelope) {
	w.tb.Helper()
	b, err := event.Marshal(e)
	if err != nil {
		w.tb.Fatal(err)
	}
	if err := w.log.Append(context.Background(), event.Record{Topic: topic, Key: []byte(e.GetUserId()), Value: b}); err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) flush() *warehousev1.FlushLakeResponse {
	w.tb.Helper()
	res, err := w.client.FlushLake(context.Background(), &warehousev1.FlushLakeRequest{})
	if err != nil {
		w.tb.Fatal(err)
	}
	return res
}

func (w *world) search(f *warehousev1.Filter, limit uint32) []*warehousev1.StoredEvent {
	w.tb.Helper()
	stream, err := w.client.SearchEvents(context.Background(), &warehousev1.SearchEventsRequest{Filter: f, Limit: limit})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var out []*warehousev1.StoredEvent
	for stream.Receive() {
		out = append(out, stream.Msg().GetEvent())
	}
	if err := stream.Err(); err != nil {
		w.tb.Fatal(err)
	}
	return out
}

func at(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }
