//go:build engines

package warehouse_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
)

var (
	writersFlag = flag.Int("warehouse.writers", 2, "how many writers TestWriters starts, one after the other")
	writersSeed = flag.Uint64("warehouse.writersseed", 1, "seed of what happens to them")
)

const (
	writerSeeds = "SEGUE_TEST_WRITER_SEEDS"
	writerBlobs = "SEGUE_TEST_WRITER_BLOBS"
)

// TestWriters: writers of one lake are processes of their own that come, are killed with
// SIGKILL, are stopped for longer than their group waits for them, and wake up again as
// zombies. Whatever they did, the lake has each record of the log once.
func TestWriters(t *testing.T) {
	if seeds := os.Getenv(writerSeeds); seeds != "" {
		writeForever(t, seeds, os.Getenv(writerBlobs))
		return
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	writers(t, c.ListenAddrs(), t.TempDir())
}

func writers(t *testing.T, seeds []string, blobs string) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	log := openKafka(t, seeds)
	appended, stop := make(chan int, 1), atomic.Bool{}
	go func() { appended <- appendUntil(ctx, t, log, &stop) }()

	rng := rand.New(rand.NewPCG(*writersSeed, 1))
	zombie := startWriter(t, seeds, blobs)
	zombie.wrote(t)
	zombie.signal(t, syscall.SIGSTOP) // until all others are dead
	for i := range *writersFlag {
		w := startWriter(t, seeds, blobs)
		w.wrote(t)
		<-time.After(time.Duration(rng.IntN(400)) * time.Millisecond)
		if i%2 == 1 {
			w.signal(t, syscall.SIGSTOP)
			w.kill(t)
			continue
		}
		other := startWriter(t, seeds, blobs) // the two divide what there is
		other.wrote(t)
		w.kill(t)
		other.kill(t)
	}
	zombie.signal(t, syscall.SIGCONT)
	last := startWriter(t, seeds, blobs)
	last.wrote(t)
	stop.Store(true)
	total := <-appended
	last.kill(t)
	zombie.kill(t)

	store := openLake(t, blobs)
	svc := newWriter(t, log, store, 1<<20)
	ended := make(chan error, 1)
	run, end := context.WithCancel(ctx)
	go func() { ended <- svc.Run(run) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for left := int64(-1); left != 0; <-tick.C {
		if ctx.Err() != nil {
			t.Fatalf("%d records do not come to the lake", left)
		}
		_, _ = svc.FlushLake(ctx, nil) // its partitions are to come to it first
		left = 0
		for _, topic := range writerTopics() {
			n, err := event.Lag(ctx, log, warehouse.Group, topic)
			if err != nil {
				t.Fatal(err)
			}
			left += n
		}
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	compare(ctx, t, log, openLake(t, blobs), total)
}

// compare holds the lake to the log, by place and by event.
func compare(ctx context.Context, t *testing.T, log event.Log, store warehouse.Store, total int) {
	t.Helper()
	want := map[string]string{}
	for _, topic := range writerTopics() {
		n, err := log.Partitions(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		for p := range n {
			for r, err := range log.Read(ctx, topic, p, 0, false) {
				if err != nil {
					t.Fatal(err)
				}
				e, err := event.Unmarshal(r.Value)
				if err != nil {
					t.Fatal(err)
				}
				want[fmt.Sprintf("%s/%d/%d", topic, p, r.Offset)] = e.GetId()
			}
		}
	}
	if len(want) != total {
		t.Errorf("%d records in the log, %d were appended", len(want), total)
	}
	files, err := store.Files(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ids, rows := map[string]bool{}, 0
	for _, f := range files {
		for r, err := range store.Rows(ctx, f, warehouse.Hint{}) {
			if err != nil {
				t.Fatal(err)
			}
			rows++
			at := fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
			switch id := r.Envelope.GetId(); {
			case want[at] == "":
				t.Errorf("%s is in the lake twice, or not in the log", at)
			case want[at] != id || ids[id]:
				t.Errorf("%s is event %s in the lake, %s in the log", at, id, want[at])
			default:
				ids[id] = true
				delete(want, at)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("%d records are not in the lake", len(want))
	}
	t.Logf("%d records, %d files, each record once", rows, len(files))
}

func writerTopics() []string { return []string{event.Playback, event.Billing, event.Catalogue} }

// appendUntil appends events of many keys until it is to stop, and returns how many.
func appendUntil(ctx context.Context, t *testing.T, log event.Log, stop *atomic.Bool) (n int) {
	payload, err := anypb.New(&eventv1.LoggedIn{ClientId: "web"})
	if err != nil {
		t.Error(err)
	}
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for ; !stop.Load(); <-pace.C {
		var recs []event.Record
		for range 10 {
			e := &eventv1.Envelope{Id: fmt.Sprintf("%022d", n), Type: "LoggedIn", Time: timestamppb.Now(), UserId: fmt.Sprint("u", n%97), Payload: payload}
			b, err := event.Marshal(e)
			if err != nil {
				t.Error(err)
				return n
			}
			recs = append(recs, event.Record{Topic: writerTopics()[n%3], Key: []byte(e.GetUserId()), Value: b})
			n++
		}
		if err := log.Append(ctx, recs...); err != nil {
			t.Error(err)
			return n
		}
	}
	return n
}

func openKafka(t *testing.T, seeds []string) event.Log {
	t.Helper()
	log, err := kafkalog.Open(t.Context(), kafkalog.Options{Client: []kgo.Opt{kgo.SeedBrokers(seeds...)}, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

// openLake opens a folder's lake, or a bucket's where at is a URL.
func openLake(t *testing.T, at string) *lake.Store {
	t.Helper()
	var blobs blob.Store
	var err error
	if strings.Contains(at, "://") {
		blobs, err = cloudblob.Open(t.Context(), at)
	} else {
		blobs, err = localblob.Open(at)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := lake.Open(t.Context(), blobs, lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newWriter(t *testing.T, log event.Log, store warehouse.Store, rows int) *warehouse.Service {
	t.Helper()
	svc, err := warehouse.New(warehouse.Deps{
		Config: warehouse.Config{FlushEvery: 20 * time.Millisecond, FileRows: rows, FileBytes: 1 << 20},
		Store:  store, Events: log, PersonalKeys: &keys{}, Now: time.Now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// telling says on standard output when a file was written.
type telling struct{ warehouse.Store }

func (s telling) Write(ctx context.Context, first int64, rows []warehouse.Row) (warehouse.File, error) {
	f, err := s.Store.Write(ctx, first, rows)
	if err == nil {
		fmt.Println("wrote", f.Name)
	}
	return f, err
}

func writeForever(t *testing.T, seeds, blobs string) {
	t.Fatal(newWriter(t, openKafka(t, strings.Split(seeds, ",")), telling{openLake(t, blobs)}, 20).Run(t.Context()))
}

// writer is a process that writes.
type writer struct {
	cmd   *exec.Cmd
	files chan string
	said  strings.Builder
}

func startWriter(t *testing.T, seeds []string, blobs string) *writer {
	t.Helper()
	w := &writer{cmd: exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriters$"), files: make(chan string, 1<<16)}
	w.cmd.Env = append(os.Environ(), writerSeeds+"="+strings.Join(seeds, ","), writerBlobs+"="+blobs)
	w.cmd.Stderr = &w.said
	out, err := w.cmd.StdoutPipe()
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.files)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "wrote "); ok {
				w.files <- name
			}
		}
	}()
	return w
}

// wrote returns when it has written a file more.
func (w *writer) wrote(t *testing.T) {
	t.Helper()
	select {
	case _, ok := <-w.files:
		if !ok {
			t.Fatalf("a writer ended by itself: %v\n%s", w.cmd.Wait(), w.said.String())
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("a writer writes nothing")
	}
}

func (w *writer) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (w *writer) kill(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range w.files { // until the process is gone
	}
	var exit *exec.ExitError
	if err := w.cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("a writer ended by itself: %v\n%s", err, w.said.String())
	}
}
