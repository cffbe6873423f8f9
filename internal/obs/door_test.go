package obs_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/segue-music/segue/internal/obs"
)

func door(d obs.DoorDeps) http.Handler {
	_, d.Metrics = obs.Metrics("test")
	if d.Alive == nil {
		d.Alive = func() error { return nil }
	}
	if d.Ready == nil {
		d.Ready = func(context.Context) error { return nil }
	}
	d.Profiles = obs.Profiles()
	return obs.Door(d)
}

// ask sends a request that came to a local address under a name.
func ask(h http.Handler, local, host, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = host
	addr, _ := net.ResolveTCPAddr("tcp", local)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr))))
	return w
}

func TestDoor_Health(t *testing.T) {
	h := door(obs.DoorDeps{})
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if w := ask(h, "10.0.0.1:9", "segue", path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	h = door(obs.DoorDeps{
		Alive: func() error { return errors.New("store has not answered for 1m0s") },
		Ready: func(context.Context) error { return errors.New("event log: closed") },
	})
	for path, text := range map[string]string{"/livez": "store has not answered", "/readyz": "event log: closed"} {
		if w := ask(h, "10.0.0.1:9", "segue", path); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), text) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestDoor_Profiles: only who is on this machine, and asks for it by that name.
func TestDoor_Profiles(t *testing.T) {
	for name, c := range map[string]struct {
		local, host string
		remote      bool
		want        int
	}{
		"loopback":             {"127.0.0.1:9", "127.0.0.1:9", false, 200},
		"loopback_name":        {"127.0.0.1:9", "localhost:9", false, 200},
		"loopback_v6":          {"[::1]:9", "[::1]:9", false, 200},
		"network":              {"10.0.0.1:9", "10.0.0.1:9", false, 403},
		"network_by_loopback":  {"10.0.0.1:9", "127.0.0.1:9", false, 403},
		"rebound_name":         {"127.0.0.1:9", "evil.example.org", false, 403},
		"network_with_setting": {"10.0.0.1:9", "10.0.0.1:9", true, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(door(obs.DoorDeps{RemoteProfiles: c.remote}), c.local, c.host, "/debug/pprof/goroutine?debug=1")
			if w.Code != c.want {
				t.Errorf("%d, want %d", w.Code, c.want)
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	h := obs.Profiles()
	for path, want := range map[string]int{
		"/debug/pprof/": 200, "/debug/pprof/heap": 200, "/debug/pprof/allocs?debug=1": 200, "/debug/pprof/mutex": 200,
		"/debug/pprof/cmdline": 404, "/debug/pprof/symbol": 404, "/debug/pprof/other": 404, "/debug/": 404,
		"/debug/pprof/profile?seconds=61": 400, "/debug/pprof/profile?seconds=-1": 400, "/debug/pprof/trace?seconds=1e9": 400,
		"/debug/pprof/heap?seconds=600": 400, "/debug/pprof/profile?seconds=NaN": 400, "/debug/pprof/profile?seconds=x": 400,
	} {
		if w := ask(h, "127.0.0.1:9", "localhost", path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/debug/pprof/profile", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// TestProfiles_OneAtATime holds one profile open by not reading it and asks for another.
func TestProfiles_OneAtATime(t *testing.T) {
	h := obs.Profiles()
	pr, pw := io.Pipe()
	slow := &pipeWriter{ResponseRecorder: httptest.NewRecorder(), to: pw}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(slow, httptest.NewRequest(http.MethodGet, "/debug/pprof/goroutine?debug=2", nil))
		_ = pw.Close()
	}()
	one := make([]byte, 1)
	if _, err := pr.Read(one); err != nil { // it is under way
		t.Fatal(err)
	}
	w := ask(h, "127.0.0.1:9", "localhost", "/debug/pprof/heap")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("a second profile: %d", w.Code)
	}
	_, _ = io.Copy(io.Discard, pr)
	<-done
	if w := ask(h, "127.0.0.1:9", "localhost", "/debug/pprof/heap"); w.Code != http.StatusOK {
		t.Errorf("after the first: %d", w.Code)
	}
}

type pipeWriter struct {
	*httptest.ResponseRecorder
	to io.Writer
}

func (w *pipeWriter) Write(b []byte) (int, error) { return w.to.Write(b) }
