//go:build engines

package spool_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/logtest"
	"github.com/segue-music/segue/event/spool"
	"github.com/segue-music/segue/internal/testengine"
)

// TestKafka runs everything that needs the real broker on one, whose start is dear.
func TestKafka(t *testing.T) {
	kafka := testengine.Kafka(t)
	t.Run("outage", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		l := open(t, t.TempDir(), spool.Options{Connect: connect(kafka.Seeds, "outage."), Ask: time.Minute})
		outage(ctx, t, l, kafka.Crash, func() {
			if err := kafka.Restart(ctx); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("kill", func(t *testing.T) {
		k := &killed{dir: t.TempDir(), seeds: kafka.Seeds}
		down := false
		k.run(t, 4, func(away bool) {
			switch {
			case away && !down:
				kafka.Crash()
			case !away && down:
				if err := kafka.Restart(t.Context()); err != nil {
					t.Error(err)
				}
			}
			down = away
		})
	})
	used := 0
	t.Run("log", func(t *testing.T) {
		logtest.Run(t, func(t *testing.T) event.Log {
			used++
			return open(t, t.TempDir(), spool.Options{Connect: connect(kafka.Seeds, fmt.Sprintf("t%d.", used)), Ask: time.Minute, Patience: 10 * time.Second})
		})
	})
}

// outage appends before, while and after the cluster is away: nobody notices, all arrives
// once and in order.
func outage(ctx context.Context, t *testing.T, l *spool.Log, down, up func()) {
	t.Helper()
	p := produce(ctx, l)
	for range 2 {
		p.more(ctx, t, 40)
		down()
		p.more(ctx, t, 100)
		if l.Empty() {
			t.Error("the cluster is away, and nothing is on the disk: the check shows nothing")
		}
		up()
		// The producers go on all the while.
		if err := settle(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	p.more(ctx, t, 40)
	p50, p99, most, total := p.end(t)
	t.Logf("%d events acknowledged, p50 %v, p99 %v, slowest %v", total, p50, p99, most)
	if err := settle(ctx, l); err != nil {
		t.Fatal(err)
	}
	if most > 10*time.Second {
		t.Errorf("an append took %v", most)
	}
	got := stored(ctx, t, l)
	for i := range p.acked {
		numbers := got[fmt.Sprintf("key-%d", i)]
		if want := p.acked[i].Load(); int64(len(numbers)) != want {
			t.Errorf("producer %d was told of %d records, %d are there", i, want, len(numbers))
		}
		for n, have := range numbers {
			if n != have {
				t.Fatalf("record %d of producer %d is %d", n, i, have)
			}
		}
	}
}

func TestOutage(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l := open(t, t.TempDir(), spool.Options{Connect: connect(f.seeds, ""), Ask: time.Second})
	outage(ctx, t, l, func() { f.away.Store(true) }, func() { f.away.Store(false) })
}
