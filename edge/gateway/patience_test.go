package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segue-music/segue/edge/gateway"
)

// TestPatience: one that asks again before it was told to waits until then, and is served
// where there is room by then.
func TestPatience(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, ln *pipes) {
		hold := make(chan struct{})
		w.answer = func(target string, _ http.ResponseWriter, _ *http.Request) {
			if target == "metadata" {
				<-hold
			}
		}
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Go(func() { get(w, "/artwork/a/1", fmt.Sprintf("192.0.2.%d", i)) })
		}
		synctest.Wait()
		conn := ln.dial("192.0.2.9")
		defer conn.Close()
		answers := bufio.NewReader(conn)
		ask := func(during func()) (status int, took time.Duration) {
			began := time.Now()
			go func() { _, _ = io.WriteString(conn, "GET /artwork/a/1 HTTP/1.1\r\nHost: a\r\n\r\n") }()
			synctest.Wait()
			during()
			res, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body) // from a pipe
			if res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
			}
			return res.StatusCode, time.Since(began)
		}
		nothing := func() {}
		if status, took := ask(nothing); status != http.StatusServiceUnavailable || took != 0 {
			t.Errorf("the first: %d after %s, want 503 at once", status, took)
		}
		if status, took := ask(nothing); status != http.StatusServiceUnavailable || took != time.Second {
			t.Errorf("at once again: %d after %s, want 503 after 1s", status, took)
		}
		time.Sleep(time.Second) //nolint:forbidigo // of the fake clock, as it was told
		if status, took := ask(nothing); status != http.StatusServiceUnavailable || took != 0 {
			t.Errorf("one that waited: %d after %s, want 503 at once", status, took)
		}
		status, took := ask(func() { close(hold); wait.Wait() })
		if status != http.StatusOK || took != time.Second {
			t.Errorf("when there is room: %d after %s, want 200 after 1s", status, took)
		}
	}, func(d *gateway.Deps) { d.Config.MaxRequests = 8 })
}
