//go:build engines

package pgbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/testengine"
)

// TestCrash kills the server again and again while two processes write to it and publish.
// What was acknowledged is there, once, with its event; and the processes go on by
// themselves as soon as the server is back.
func TestCrash(t *testing.T) {
	const crashes, writers = 4, 8
	pg := testengine.DurablePostgreSQL(t)
	url := pg.Database(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	log, err := locallog.Open(t.TempDir(), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	processes := []process{open(t, url), open(t, url)}
	relaying, stop := context.WithCancel(ctx)
	defer stop()
	relays := new(errgroup.Group)
	for _, p := range processes {
		relays.Go(func() error { return outbox.NewRelay(p.box, log, slog.New(slog.DiscardHandler)).Run(relaying) })
	}

	// Each writer has a subject, whose revision counts its changes.
	var done atomic.Bool
	var total, refused atomic.Int64
	acked, unknown := make([]int, writers), make([]int, writers)
	writing := new(errgroup.Group)
	for i := range writers {
		writing.Go(func() error {
			for !done.Load() {
				err := processes[i%2].bump(ctx, subject(i))
				switch {
				case err == nil:
					acked[i]++
					total.Add(1)
				case errors.Is(err, pgdb.ErrUnknown):
					unknown[i]++
				case fault.KindOf(err) == fault.Unavailable:
					refused.Add(1)
				default:
					return fmt.Errorf("writer %d: %w", i, err)
				}
			}
			return nil
		})
	}
	more := func() { // until writes have come through
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for want := total.Load() + 100; total.Load() < want; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatal("no writes come through any more")
			}
		}
	}
	for range crashes {
		more()
		pg.Crash()
		began := time.Now()
		if err := pg.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		more()
		t.Logf("away for %v, 100 writes %v after that", back.Sub(began).Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
	}
	done.Store(true)
	if err := writing.Wait(); err != nil {
		t.Fatal(err)
	}
	waitEmpty(ctx, t, processes[0])
	stop()
	if err := relays.Wait(); err != nil {
		t.Error(err)
	}

	published, repeated := inLog(ctx, t, log)
	lost, maybe := 0, 0
	for i := range writers {
		var stored int
		err := processes[0].db.Read(ctx, func(q pgdb.Queryer) error {
			return q.QueryRow(ctx, `SELECT revision FROM subjects WHERE id = $1`, subject(i)).Scan(&stored)
		})
		if err != nil {
			t.Fatal(err)
		}
		if stored < acked[i] || stored > acked[i]+unknown[i] {
			t.Errorf("%s: %d stored, %d acknowledged and %d unknown", subject(i), stored, acked[i], unknown[i])
		}
		if published[subject(i)] != uint64(stored) {
			t.Errorf("%s: %d stored and %d published", subject(i), stored, published[subject(i)])
		}
		lost += max(0, acked[i]-stored)
		maybe += unknown[i]
	}
	t.Logf("%d crashes, %d writes acknowledged, %d lost, %d unknown, %d refused, %d events published twice",
		crashes, total.Load(), lost, maybe, refused.Load(), repeated)
}

func subject(writer int) string { return fmt.Sprint("upload:", writer) }

// inLog is the last revision of each subject in the log, and how many events came again.
// What is new comes in order, without gaps.
func inLog(ctx context.Context, t *testing.T, log event.Log) (last map[string]uint64, repeated int) {
	t.Helper()
	last = map[string]uint64{}
	for r, err := range log.Read(ctx, event.Upload, 0, 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Unmarshal(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		switch now := last[e.GetSubject()]; {
		case e.GetRevision() <= now:
			repeated++
		case e.GetRevision() == now+1:
			last[e.GetSubject()] = e.GetRevision()
		default:
			t.Errorf("%s at %d follows %d", e.GetSubject(), e.GetRevision(), now)
		}
	}
	return last, repeated
}
