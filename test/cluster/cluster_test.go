package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// gateway answers with its name, and says of itself whether it is ready.
type gateway struct {
	name     string
	draining atomic.Bool
	server   *http.Server
	url      string
}

func startGateway(t *testing.T, name string) *gateway {
	t.Helper()
	g := &gateway{name: name}
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if g.draining.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", g.name, r.Header.Get("X-Forwarded-For"), body)
	})
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.url = "http://" + ln.Addr().String()
	g.server = &http.Server{Handler: mux, Protocols: &http.Protocols{}, ReadHeaderTimeout: time.Second}
	g.server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = g.server.Serve(ln) }()
	t.Cleanup(func() { _ = g.server.Close() })
	return g
}

func TestBalancer(t *testing.T) {
	a, b := startGateway(t, "a"), startGateway(t, "b")
	public, err := FreePorts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	front, err := Balance(t.Context(), &Plan{Public: public[0], Gateways: []string{a.url, b.url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	ask := func() string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+public[0]+"/x", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "192.0.2.1") // is not believed
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		name, rest, _ := strings.Cut(string(text), " ")
		if err != nil || res.StatusCode != http.StatusOK || rest != "127.0.0.1 body" {
			t.Fatalf("%s %q %v", res.Status, text, err)
		}
		return name
	}
	counts := func() map[string]int {
		out := map[string]int{}
		for range 10 {
			out[ask()]++
		}
		return out
	}
	if got := counts(); got["a"] == 0 || got["b"] == 0 {
		t.Errorf("both are ready: %v", got)
	}
	a.draining.Store(true)
	limit := time.Now().Add(10 * time.Second)
	for got := counts(); got["a"] > 0; got = counts() {
		if time.Now().After(limit) {
			t.Fatalf("one that is not ready is still asked: %v", got)
		}
	}
	a.draining.Store(false)
	if err := b.server.Shutdown(t.Context()); err != nil { // before it has said so
		t.Fatal(err)
	}
	if got := counts(); got["a"] != 10 {
		t.Errorf("one is gone: %v", got)
	}
}

// program writes a shell script in the place of segue.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segue")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRun_Fails: where one process does not start, none is left.
func TestRun_Fails(t *testing.T) {
	dir := t.TempDir()
	segue := program(t, `case $1 in -target=migrate) exit 0 ;; -target=upload) echo it broke; exit 1 ;; esac
echo $$ >>"`+dir+`/pids"
trap 'exit 0' TERM
while :; do sleep 0.1; done
`)
	plan := &Plan{Public: "127.0.0.1:0", Migrate: Process{Target: "migrate", Args: []string{"-target=migrate"}}}
	for _, target := range []string{"user", "upload"} {
		plan.Processes = append(plan.Processes, Process{Target: target, Args: []string{"-target=" + target}})
	}
	// user never gets ready: its wait ends with the context.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := Run(ctx, segue, dir, plan); err == nil || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("%v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pids"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(text)) {
		var n int
		if _, err := fmt.Sscan(pid, &n); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is left: %v", n, err)
		}
	}
}
