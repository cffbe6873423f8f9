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
