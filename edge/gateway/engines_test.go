//go:build engines

package gateway_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/edge/gateway"
	"github.com/segue-music/segue/internal/ratelimit/redislimit"
	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/internal/testengine"
)

// TestGateway_SharedLimits: what one gateway let through counts at the other, and each
// goes by its own count when Redis is away.
func TestGateway_SharedLimits(t *testing.T) {
	server := testengine.Redis(t)
	door := func() http.Handler {
		c, err := redisdb.Open(redisdb.Config{Addr: server.Addr, Timeout: time.Second}, redisdb.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		all.Go(func() { _ = c.Run(ctx) })
		t.Cleanup(func() { cancel(); all.Wait(); _ = c.Close() })
		for end := time.Now().Add(20 * time.Second); c.Away(); {
			if time.Now().After(end) {
				t.Fatal("Redis is not found")
			}
			<-time.After(time.Millisecond)
		}
		return newWorld(t, func(d *gateway.Deps) {
			d.Config = config(t, "-http.rate.page-per-ip=0.001+6")
			d.SharedLimits = redislimit.New(c, "gateway", 100)
		}).gw.Handler()
	}
	ask := func(h http.Handler, ip string) int {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = ip + ":5000"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	one, two := door(), door()
	passed := func(ip string) (n int) {
		for range 10 {
			for _, h := range []http.Handler{one, two} {
				switch code := ask(h, ip); code {
				case http.StatusOK:
					n++
				case http.StatusTooManyRequests:
				default:
					t.Errorf("status %d", code)
				}
			}
		}
		return n
	}
	if n := passed("203.0.113.1"); n != 6 {
		t.Errorf("%d of a burst of 6 passed through two gateways", n)
	}
	server.Crash()
	if n := passed("203.0.113.2"); n != 12 {
		t.Errorf("%d passed without Redis, want 6 at each of two gateways", n)
	}
}
