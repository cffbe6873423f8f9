package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/sqlitebox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/sqlitedb"
)

type fixture struct {
	db  *sqlitedb.DB
	box *sqlitebox.Outbox
	log event.Log
	now atomic.Int64 // Unix seconds
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{}
	f.now.Store(1_700_000_000)
	schema, err := sqlitebox.Schema()
	if err != nil {
		t.Fatal(err)
	}
	f.db, err = sqlitedb.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), sqlitedb.Options{
		Modules: []sqlitedb.Module{schema}, Now: func() time.Time { return time.Unix(f.now.Load(), 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close() })
	l, err := locallog.Open(t.TempDir(), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f.log, f.box = l, sqlitebox.New(f.db, event.OwnerUpload)
	return f
}

func envelope(t *testing.T, subject string, rev int) *eventv1.Envelope {
	t.Helper()
	e, err := event.New(fmt.Sprintf("%022d", rev), time.Unix(1, 0), subject, uint64(rev), &eventv1.UploadStarted{Source: "tus"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (f *fixture) add(t *testing.T, subject string, rev int, fail error) error {
	e := envelope(t, subject, rev)
	return f.db.Write(t.Context(), func(tx *sqlitedb.Tx) error {
		return errors.Join(f.box.Add(t.Context(), tx, event.Upload, subject, e), fail)
	})
}

// relay runs the relay until the log holds n records, and returns their revisions.
func (f *fixture) relay(t *testing.T, log event.Log, n int) []uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- outbox.NewRelay(f.box, log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	var revs []uint64
	for r, err := range f.log.Read(ctx, event.Upload, 0, 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Unmarshal(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		if revs = append(revs, e.GetRevision()); len(revs) == n {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return revs
}

func TestRelay_Order(t *testing.T) {
	f := setUp(t)
	for rev := 1; rev <= 600; rev++ {
		if err := f.add(t, "upload:1", rev, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i, rev := range f.relay(t, f.log, 600) {
		if rev != uint64(i+1) {
			t.Fatalf("record %d has revision %d", i, rev)
		}
	}
}

// flaky stores what it is given and then says that it failed, as a process that dies
// between the append and the removal from the outbox; later calls are honest.
type flaky struct {
	event.Log
	failures atomic.Int32
}

func (l *flaky) Append(ctx context.Context, recs ...event.Record) error {
	err := l.Log.Append(ctx, recs...)
	if err == nil && l.failures.Add(-1) >= 0 {
		return errors.New("connection lost")
	}
	return err
}

func TestRelay_AtLeastOnce(t *testing.T) {
	f := setUp(t)
	for rev := 1; rev <= 3; rev++ {
		if err := f.add(t, "upload:1", rev, nil); err != nil {
			t.Fatal(err)
		}
	}
	log := &flaky{Log: f.log}
	log.failures.Store(1)
	got := fmt.Sprint(f.relay(t, log, 6))
	if got != "[1 2 3 1 2 3]" {
		t.Errorf("published %s", got)
	}
}

func TestRelay_Wakes(t *testing.T) {
	f := setUp(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- outbox.NewRelay(f.box, f.log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	rev := 0
	next := func() {
		rev++
		if err := f.add(t, "upload:1", rev, nil); err != nil {
			t.Fatal(err)
		}
	}
	next()
	for _, err := range f.log.Read(ctx, event.Upload, 0, 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		if rev == 20 {
			break
		}
		next() // only the commit's own wake can bring this one here
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRelay_Backlog: what waits is told, and since when, until the log has it.
func TestRelay_Backlog(t *testing.T) {
	f := setUp(t)
	r := outbox.NewRelay(f.box, f.log, slog.New(slog.DiscardHandler))
	told := func(rows, age string) {
		t.Helper()
		want := `# HELP segue_outbox_oldest_age_seconds Age of the oldest event that waits for the log, 0 where none waits.
# TYPE segue_outbox_oldest_age_seconds gauge
segue_outbox_oldest_age_seconds{owner="upload"} ` + age + `
# HELP segue_outbox_pending_events Events of committed changes that the log does not have yet.
# TYPE segue_outbox_pending_events gauge
segue_outbox_pending_events{owner="upload"} ` + rows + "\n"
		if err := testutil.CollectAndCompare(r.Metrics(), strings.NewReader(want)); err != nil {
			t.Error(err)
		}
	}
	told("0", "0")
	f.now.Store(61) // the envelopes are of second 1
	for rev := range 2 {
		if err := f.add(t, "upload:a", rev+1, nil); err != nil {
			t.Fatal(err)
		}
	}
	told("2", "60")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if n, err := f.box.Pending(t.Context()); err != nil || n == 0 {
			break
		}
		<-tick.C
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	told("0", "0")
}
