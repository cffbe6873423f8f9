package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// collector is a server that may be away, and counts each event once.
type collector struct {
	mu   sync.Mutex
	away error
	took map[string]int
	sent int
}

func (c *collector) SendEvents(_ context.Context, req *collectv1.SendEventsRequest) (*collectv1.SendEventsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	if c.away != nil {
		return nil, c.away
	}
	if c.took == nil {
		c.took = map[string]int{}
	}
	for _, e := range req.GetEvents() {
		c.took[req.GetSessionId()+"/"+e.GetId()]++
	}
	return &collectv1.SendEventsResponse{Accepted: uint32(len(req.GetEvents()))}, nil
}

func (c *collector) be(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = err
}

func event(n int) *collectv1.ClientEvent {
	return &collectv1.ClientEvent{
		Id: fmt.Sprint("e", n), ClientUnixMs: int64(n),
		Payload: &collectv1.ClientEvent_Progress{Progress: &eventv1.PlaybackProgress{PlayId: "p", HeardMs: uint64(n)}},
	}
}

var errAway = connect.NewError(connect.CodeUnavailable, errors.New("away"))

const device = "0000000000000000000001"

func open(t *testing.T, dir, session string, c Collect) *Spool {
	t.Helper()
	s, err := Open(dir, device, session, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func files(t *testing.T, dir string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestSpool_Delivers(t *testing.T) {
	dir, c := t.TempDir(), &collector{}
	s := open(t, dir, "s1", c)
	want := map[string]int{}
	for i := range 250 {
		s.Add(event(i))
		want[fmt.Sprint("s1/e", i)] = 1
	}
	if left, err := s.Close(t.Context()); left != 0 || err != nil {
		t.Fatal(left, err)
	}
	if d := cmp.Diff(want, c.took); d != "" {
		t.Error(d)
	}
	if n := files(t, dir); n != 0 {
		t.Errorf("%d files left", n)
	}
}

func TestSpool_NextRunDelivers(t *testing.T) {
	dir, c := t.TempDir(), &collector{away: errAway}
	s := open(t, dir, "s1", c)
	for i := range 3 {
		s.Add(event(i))
	}
	if left, err := s.Close(t.Context()); left != 3 || err == nil {
		t.Fatalf("Close: %d left, %v", left, err)
	}
	// A machine that stops tears the last line.
	f, err := os.OpenFile(filepath.Join(dir, "s1"+suffix), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"deviceId":"0000`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	running := open(t, dir, "s2", c)
	running.Add(event(9))
	log := slog.New(slog.DiscardHandler)
	if err := Recover(t.Context(), dir, c, log); err == nil {
		t.Error("no error while the server is away")
	}
	c.be(nil)
	if err := Recover(t.Context(), dir, c, log); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"s1/e0": 1, "s1/e1": 1, "s1/e2": 1}
	c.mu.Lock()
	got := maps.Clone(c.took)
	c.mu.Unlock()
	delete(got, "s2/e9") // whether it is out already is a matter of time
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := files(t, dir); n != 1 {
		t.Errorf("%d files, want that of the run that goes on", n)
	}
	if left, err := running.Close(t.Context()); left != 0 || err != nil {
		t.Fatal(left, err)
	}
	if c.took["s2/e9"] == 0 {
		t.Error("the running spool's event was lost")
	}
}

func TestSpool_TriesAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := &collector{away: errAway}
		s := open(t, dir, "s1", c)
		s.Add(event(1))
		synctest.Wait()
		c.be(nil)
		time.Sleep(2 * time.Second) // of the bubble's clock
		synctest.Wait()
		if d := cmp.Diff(map[string]int{"s1/e1": 1}, c.took); d != "" {
			t.Error(d)
		}
		if _, err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestSpool_Hopeless(t *testing.T) {
	dir, c := t.TempDir(), &collector{away: connect.NewError(connect.CodeInvalidArgument, errors.New("no"))}
	s := open(t, dir, "s1", c)
	s.Add(event(1))
	if left, err := s.Close(t.Context()); left != 0 || err != nil {
		t.Fatal(left, err)
	}
}

func TestFolder(t *testing.T) {
	a, b := Folder("https://x", "ada"), Folder("https://x", "bob")
	if a == b || a != Folder("https://x", "ada") {
		t.Error(a, b)
	}
}
