package health_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segue-music/segue/internal/health"
)

var errBroken = errors.New("broken")

func fine(context.Context) error { return nil }

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := health.New(time.Now)
		broken := false
		h.Needs("log", fine)
		h.Needs("store", func(context.Context) error {
			if broken {
				return errBroken
			}
			return nil
		})
		want := func(what, text string) {
			t.Helper()
			err := h.Ready(t.Context())
			if (text == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v, want %q", what, err, text)
			}
		}
		want("before the start", "starting")
		h.Started()
		want("started", "")
		broken = true
		want("asked again within a second", "")
		time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble's clock
		want("a part fails", "store: broken")
		if err := h.Ready(t.Context()); strings.Contains(err.Error(), "log") {
			t.Errorf("a part that works is named: %v", err)
		}
		if err := h.Alive(); err != nil {
			t.Errorf("a part that fails is not stuck: %v", err)
		}
		broken = false
		time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble's clock
		want("mended", "")
		h.Drain()
		want("draining", "draining")
	})
}

// TestHang: a part that hangs, whatever its context says, is named in bounded time, and
// the process counts as stuck only when it hangs for long.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := health.New(time.Now)
		mend := make(chan struct{})
		var asked atomic.Int32
		h.Needs("log", fine)
		h.Needs("store", func(context.Context) error { asked.Add(1); <-mend; return nil })
		h.Started()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		begin := time.Now()
		err := h.Ready(t.Context())
		if err == nil || !strings.Contains(err.Error(), "store: does not answer") || strings.Contains(err.Error(), "log") {
			t.Errorf("not ready for %v", err)
		}
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("the answer took %s", took)
		}
		if err := h.Alive(); err != nil {
			t.Errorf("stuck after 3 s: %v", err)
		}
		if up := testutil.CollectAndCount(h.Metrics()); up != 2 {
			t.Errorf("%d parts in the metrics", up)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // of the bubble's clock
		if err := h.Alive(); err == nil || !strings.Contains(err.Error(), "store has not answered for 1m") {
			t.Errorf("not stuck after a minute: %v", err)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%d checks of one part at a time", n)
		}
		close(mend)
		synctest.Wait()
		if err := h.Alive(); err != nil {
			t.Errorf("stuck although it answers: %v", err)
		}
		time.Sleep(11 * time.Second) //nolint:forbidigo // of the bubble's clock
		if err := h.Ready(t.Context()); err != nil {
			t.Errorf("not ready: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := health.New(time.Now)
		h.Needs("log", fine)
		h.Needs("store", func(context.Context) error { return errBroken })
		h.Started()
		_ = h.Ready(t.Context())
		want := `# HELP segue_ready Whether a part that this process needs answered when last asked.
# TYPE segue_ready gauge
segue_ready{part="log"} 1
segue_ready{part="store"} 0
`
		if err := testutil.CollectAndCompare(h.Metrics(), strings.NewReader(want)); err != nil {
			t.Error(err)
		}
	})
}
