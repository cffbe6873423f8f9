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

func TestOutbox_Add(t *testing.T) {
	f := setUp(t)
	if err := f.add(t, "upload:1", 2, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.add(t, "upload:1", 1, nil); !errors.Is(err, outbox.ErrRevision) {
		t.Errorf("a lower revision: %v", err)
	}
	rolledBack := errors.New("rolled back")
	if err := f.add(t, "upload:1", 3, rolledBack); !errors.Is(err, rolledBack) {
		t.Error(err)
	}
	err := f.db.Write(t.Context(), func(tx *sqlitedb.Tx) error {
		return f.box.Add(t.Context(), tx, event.Billing, "k", envelope(t, "x", 1))
	})
	if !errors.Is(err, event.ErrNotOwner) {
		t.Errorf("another owner's topic: %v", err)
	}
	if n, err := f.box.Pending(t.Context()); err != nil || n != 1 {
		t.Errorf("%d pending, %v, want 1", n, err)
	}
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

func TestOutbox_Once(t *testing.T) {
	f := setUp(t)
	runs := 0
	once := func(caller, key, request string, fail error) (string, error) {
		var reply []byte
		err := f.db.Write(t.Context(), func(tx *sqlitedb.Tx) (err error) {
			reply, err = f.box.Once(t.Context(), tx, caller, key, []byte(request), func() ([]byte, error) {
				runs++
				return fmt.Appendf(nil, "reply %d", runs), fail
			})
			return err
		})
		return string(reply), err
	}
	boom := errors.New("boom")
	for _, c := range []struct {
		name, caller, key, request, want string
		fail, err                        error
		later                            time.Duration
	}{
		{name: "failure_is_not_kept", caller: "a", key: "k", request: "r", fail: boom, err: boom},
		{name: "first", caller: "a", key: "k", request: "r", want: "reply 2"},
		{name: "repeat", caller: "a", key: "k", request: "r", want: "reply 2"},
		{name: "other_request", caller: "a", key: "k", request: "q", err: outbox.ErrKeyReused},
		{name: "other_caller", caller: "b", key: "k", request: "r", want: "reply 3"},
		{name: "no_key", caller: "a", err: outbox.ErrKeyMalformed},
		{name: "after_a_day", caller: "a", key: "k", request: "q", want: "reply 4", later: 24 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.now.Add(int64(c.later / time.Second))
			got, err := once(c.caller, c.key, c.request, c.fail)
			if !errors.Is(err, c.err) || (c.err == nil && got != c.want) {
				t.Errorf("got %q, %v, want %q, %v", got, err, c.want, c.err)
			}
		})
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
