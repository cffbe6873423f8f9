//go:build engines

package playback_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/internal/testengine"
)

// another is one more playback on the same store and log, which hears of changes by Redis
// alone: it reads nothing again by itself for an hour.
func (f *fixture) another(t *testing.T, redis string) *fixture {
	t.Helper()
	c, err := redisdb.Open(redisdb.Config{Addr: redis, Timeout: time.Second}, redisdb.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = c.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		all.Wait()
		_ = c.Close()
	})
	f.until("Redis", func() bool { return !c.Away() })
	g := &fixture{tb: t, dir: f.dir, conf: f.conf, ring: f.ring, log: f.log, meta: f.meta, queue: f.queue, notices: c.Notices("player:")}
	g.clock.Store(f.clock.Load())
	g.conf.Refresh = time.Hour
	g.start()
	t.Cleanup(func() { _ = g.store.Close() })
	g.run()
	return g
}

// watched is a stream of a player that is read in the background.
type watched struct {
	mu     sync.Mutex
	volume uint32
	ended  bool
}

func (f *fixture) watch(t *testing.T, name string) *watched {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := f.players(person(name)).WatchPlayer(ctx, &playbackv1.WatchPlayerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{}
	done := make(chan struct{})
	go func(s *connect.ServerStreamForClient[playbackv1.WatchPlayerResponse]) {
		defer close(done)
		for s.Receive() {
			w.mu.Lock()
			w.volume = s.Msg().GetState().GetVolumeMilli()
			w.mu.Unlock()
		}
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
	}(stream)
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watched) has(volume uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.volume == volume
}

func (w *watched) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// turn sets the volume at an instance.
func (f *fixture) turn(t *testing.T, d *device, volume uint32) {
	t.Helper()
	res, err := f.players(d.who).GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	res.GetState().VolumeMilli = volume
	_, err = f.players(d.who).UpdatePlayer(t.Context(), &playbackv1.UpdatePlayerRequest{
		Revision: res.GetState().GetRevision(), DeviceId: d.id, State: res.GetState(),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestInstances: what one instance changes, those who watch at another see at once; what
// was told while Redis was away they see when it is back; and the end of an account, whose
// event comes to one instance, ends the streams of all.
func TestInstances(t *testing.T) {
	f := setUp(t)
	server := testengine.Redis(t)
	proxy := testengine.NewProxy(t, server.Addr)
	one, two := f.another(t, server.Addr), f.another(t, proxy.Addr)
	d := one.open(person("ann"), "phone")
	here, there, bob := one.watch(t, "ann"), two.watch(t, "ann"), two.watch(t, "bob")
	one.turn(t, d, 111)
	f.until("change at both", func() bool { return here.has(111) && there.has(111) })
	began := time.Now()
	for volume := uint32(200); volume < 250; volume++ {
		one.turn(t, d, volume)
		f.until("change at the other instance", func() bool { return there.has(volume) })
	}
	t.Logf("a change and its arrival at the other instance: %s", time.Since(began)/50)
	two.turn(t, d, 300)
	f.until("change back at the first", func() bool { return here.has(300) })

	proxy.Away(true)
	one.turn(t, d, 400)
	f.until("change at the first", func() bool { return here.has(400) })
	if there.has(400) {
		t.Error("told though Redis is out of reach") // then the next lines show nothing
	}
	proxy.Away(false)
	f.until("repair when Redis is back", func() bool { return there.has(400) })
	server.Crash()
	one.turn(t, d, 500) // and nobody sees an error
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.until("repair after a restart", func() bool { return here.has(500) && there.has(500) })

	env, err := event.New(ident("ann is deleted"), f.now(), "user:"+uid("ann"), 1, &eventv1.AccountDeleted{})
	if err != nil {
		t.Fatal(err)
	}
	env.UserId = uid("ann")
	if err := event.NewPublisher(f.log, event.OwnerUser).Publish(t.Context(), event.UserIdentity, uid("ann"), env); err != nil {
		t.Fatal(err)
	}
	f.until("end of both streams", func() bool { return here.over() && there.over() })
	if bob.over() {
		t.Error("another listener's stream has ended")
	}
}

// TestInstances_Fence: a device that is activated at one instance ends the others' streams
// at the other one.
func TestInstances_Fence(t *testing.T) {
	f := setUp(t)
	server := testengine.Redis(t)
	one, two := f.another(t, server.Addr), f.another(t, server.Addr)
	phone, desk := one.open(person("ann"), "phone"), two.open(person("ann"), "desk")
	two.watch(t, "ann")
	if got := desk.fence(); got != "ok" {
		t.Fatalf("nobody is active: %s", got)
	}
	phone.activate(true)
	f.until("fence at the other instance", func() bool { return desk.fence() == "elsewhere" })
}
