package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segue-music/segue/edge/gateway"
)

// pipes is a listener in memory, whose time a synctest bubble can turn.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// from is a connection with a peer's address.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

func (p *pipes) dial(ip string) net.Conn {
	client, server := net.Pipe()
	p.conns <- from{server, &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}}
	return client
}

// bubble runs a gateway in fake time.
func bubble(t *testing.T, run func(t *testing.T, w *world, ln *pipes), change ...func(*gateway.Deps)) {
	keys := newWorld(t) // its files are made outside
	synctest.Test(t, func(t *testing.T) {
		w := &world{tb: t, deps: keys.deps, tokens: keys.tokens, server: keys.server}
		for target := range keys.deps.Backends {
			w.back(target, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.record(target, rw, r) }))
		}
		for _, f := range change {
			f(&w.deps)
		}
		w.build()
		ln := newPipes()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.gw.Serve(ctx, ln, nil) }()
		run(t, w, ln)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// closedAfter tells when the server closes the connection, or answers on it.
func closedAfter(conn net.Conn) (time.Duration, string) {
	start := time.Now()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		line = err.Error()
	}
	return time.Since(start), strings.TrimSpace(line)
}

func TestBounds_SlowClients(t *testing.T) {
	bubble(t, func(t *testing.T, _ *world, ln *pipes) {
		for name, c := range map[string]struct {
			send   string
			within time.Duration
			status string
		}{
			"says_nothing":     {"", 6 * time.Second, ""},
			"half_a_header":    {"GET / HTTP/1.1\r\nHost: a\r\nX-A: b", 6 * time.Second, ""},
			"half_a_form":      {"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", 15 * time.Second, "408"},
			"half_an_upload":   {"POST /upload/v1/files/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token-artist\r\nContent-Length: 10\r\n\r\nabc", 35 * time.Second, "408"},
			"health_and_slow":  {"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", 6 * time.Second, "200"},
			"idle_afterwards":  {"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", 1 * time.Second, "200"},
			"refused_and_slow": {"POST /segue.user.v1.AccountService/GetMe HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", time.Second, "401"},
		} {
			conn := ln.dial("192.0.2.1")
			if _, err := io.WriteString(conn, c.send); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			took, answer := closedAfter(conn)
			if took > c.within || !strings.Contains(answer, c.status) {
				t.Errorf("%s: %q after %v", name, answer, took)
			}
			_ = conn.Close()
		}
	})
}

// TestBounds_SlowService: a call that takes too long is ended, a stream is not.
func TestBounds_SlowService(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, ln *pipes) {
		w.answer = func(_ string, rw http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(10 * time.Minute):
				_, _ = io.WriteString(rw, "at last")
			case <-r.Context().Done():
				rw.WriteHeader(http.StatusServiceUnavailable) // it has the same deadline and may be first
			}
		}
		conn := ln.dial("192.0.2.1")
		_, _ = io.WriteString(conn, "GET /artwork/a/1 HTTP/1.1\r\nHost: a\r\n\r\n")
		if took, answer := closedAfter(conn); took > time.Minute || !strings.Contains(answer, "504") && !strings.Contains(answer, "503") {
			t.Errorf("%q after %v", answer, took)
		}
		_ = conn.Close()
		conn = ln.dial("192.0.2.1")
		_, _ = io.WriteString(conn, "GET /stream/v1/x HTTP/1.1\r\nHost: a\r\n\r\n")
		if took, answer := closedAfter(conn); took < 10*time.Minute || !strings.Contains(answer, "200") {
			t.Errorf("a stream: %q after %v", answer, took)
		}
		_ = conn.Close()
	})
}

// TestBounds_SilentStream: over HTTP/2, where a deadline ends a stream even while nobody
// writes, a silent one lives on.
func TestBounds_SilentStream(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, ln *pipes) {
		w.answer = func(_ string, rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, "first ")
			select {
			case <-time.After(time.Hour):
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(rw, "last")
		}
		c := h2c()
		transport, _ := c.Transport.(*http.Transport)
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return ln.dial("192.0.2.1"), nil }
		res, err := c.Get("http://segue.test/o/x")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil || string(b) != "first last" || res.ProtoMajor != 2 {
			t.Errorf("%q, %v", b, err)
		}
		_ = res.Body.Close()
		c.CloseIdleConnections()
	})
}

// TestBounds_Stalled: a client that takes nothing does not hold a stream for ever.
func TestBounds_Stalled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, ln *pipes) {
		ended := make(chan time.Duration, 1)
		w.answer = func(_ string, rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, "the first words")
			time.Sleep(time.Hour) //nolint:forbidigo // a stream may be silent for long, by the bubble's clock
			start := time.Now()
			for {
				if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
					ended <- time.Since(start)
					return
				}
			}
		}
		conn := ln.dial("192.0.2.1")
		_, _ = io.WriteString(conn, "GET /o/x HTTP/1.1\r\nHost: a\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(res.Body, make([]byte, 15)); err != nil {
			t.Error(err)
		}
		if took := <-ended; took > time.Minute {
			t.Errorf("noticed after %v", took)
		}
		_ = conn.Close()
	})
}

// TestBounds_Connections: a newcomer over a bound takes the place of an idle connection,
// of its own network where the bound is that; where all are in use it is closed.
func TestBounds_Connections(t *testing.T) {
	bubble(t, func(t *testing.T, x *world, ln *pipes) {
		busy, leave := make(chan struct{}), make(chan struct{})
		x.answer = func(string, http.ResponseWriter, *http.Request) {
			busy <- struct{}{}
			<-leave
		}
		open := map[string]net.Conn{}
		try := func(name, ip, path string, want bool) {
			t.Helper()
			synctest.Wait() // the server has noted that the ones before are idle
			conn := ln.dial(ip)
			open[name] = conn
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
			switch {
			case err == nil && path != "/livez" && want:
				<-busy
			case err == nil:
				_, err = http.ReadResponse(bufio.NewReader(conn), nil)
			}
			if (err == nil) != want {
				t.Errorf("%s: %v", name, err)
			}
		}
		gone := func(want ...string) {
			t.Helper()
			synctest.Wait()
			for name, conn := range open {
				_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
				_, err := conn.Read(make([]byte, 1))
				closed := errors.Is(err, io.EOF)
				if closed != slices.Contains(want, name) {
					t.Errorf("%s closed: %v", name, closed)
				}
				if closed {
					delete(open, name)
				}
			}
		}
		const idle, used = "/livez", "/o/x"
		try("first", "192.0.2.1", idle, true)
		try("second", "192.0.2.1", idle, true)
		try("third", "192.0.2.1", used, true)
		gone("first")
		try("fourth", "192.0.2.1", used, true)
		gone("second")
		try("fifth", "192.0.2.1", idle, false)
		gone("fifth")
		try("v6", "2001:db8::1", idle, true)
		try("v6_same_net", "2001:db8::2", idle, true)
		try("v6_same_net_again", "2001:db8::ffff:1", idle, true)
		gone("v6")
		for i := range 3 {
			try("proxy_"+string(rune('1'+i)), "10.0.0.1", idle, true)
		}
		try("last", "192.0.2.2", used, true)
		gone()
		try("over_all", "192.0.2.9", used, true)
		gone("v6_same_net")
		close(leave)
		for _, c := range open {
			_ = c.Close()
		}
	}, func(d *gateway.Deps) {
		d.Config.MaxConnsPerIP, d.Config.MaxConns, d.Config.TrustedProxies = 2, 8, "10.0.0.0/8"
	})
}

func get(w *world, path, ip string, more ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = net.JoinHostPort(ip, "1")
	for i := 0; i+1 < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
	}
	res := httptest.NewRecorder()
	w.gw.Handler().ServeHTTP(res, r)
	return res
}

func TestRate_PerAddress(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ *pipes) {
		burst := func(ip string) (passed int) {
			for range 100 {
				if get(w, "/artwork/a/1", ip).Code == http.StatusOK {
					passed++
				}
			}
			return passed
		}
		if n := burst("192.0.2.1"); n != 5 {
			t.Errorf("%d of 100 at once", n)
		}
		res := get(w, "/artwork/a/1", "192.0.2.1")
		if res.Code != http.StatusTooManyRequests || res.Header().Get("Retry-After") != "1" {
			t.Errorf("%d, retry after %q", res.Code, res.Header().Get("Retry-After"))
		}
		if n := burst("192.0.2.2"); n != 5 {
			t.Errorf("another address: %d", n)
		}
		if n := burst("2001:db8::1") + burst("2001:db8::2"); n != 5 {
			t.Errorf("one /64: %d", n)
		}
		if res := get(w, "/livez", "192.0.2.1"); res.Code != http.StatusOK {
			t.Errorf("health is limited: %d", res.Code)
		}
		if res := get(w, "/", "192.0.2.1"); res.Code != http.StatusOK {
			t.Errorf("another class is limited: %d", res.Code)
		}
		time.Sleep(time.Second) //nolint:forbidigo // of the bubble's clock
		if n := burst("192.0.2.1"); n != 2 {
			t.Errorf("%d a second later", n)
		}
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble's clock
		if n := burst("192.0.2.1"); n != 5 {
			t.Errorf("%d an hour later", n)
		}
	}, func(d *gateway.Deps) { d.Config.Rates[gateway.ClassMedia].IP = gateway.Rate{PerSecond: 2, Burst: 5} })
}

func TestRate_PerAccount(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ *pipes) {
		passed := map[string]int{}
		for i := range 20 {
			for _, who := range []string{"listener", "admin"} {
				r := httptest.NewRequest(http.MethodPost, getMe, nil)
				r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i)
				r.Header.Set("Authorization", "Bearer token-"+who)
				res := httptest.NewRecorder()
				w.gw.Handler().ServeHTTP(res, r)
				if res.Code == http.StatusOK {
					passed[who]++
				}
			}
		}
		if passed["listener"] != 3 || passed["admin"] != 3 {
			t.Errorf("passed %v", passed)
		}
	}, func(d *gateway.Deps) { d.Config.Rates[gateway.ClassRPC].User = gateway.Rate{PerSecond: 1, Burst: 3} })
}

func TestShed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ *pipes) {
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
		res := get(w, "/artwork/a/1", "192.0.2.9")
		if res.Code != http.StatusServiceUnavailable || res.Header().Get("Retry-After") == "" {
			t.Errorf("over the target's part: %d", res.Code)
		}
		if res := get(w, "/.well-known/x", "192.0.2.9"); res.Code != http.StatusOK {
			t.Errorf("another target suffers: %d", res.Code)
		}
		if res := get(w, "/livez", "192.0.2.9"); res.Code != http.StatusOK {
			t.Errorf("health suffers: %d", res.Code)
		}
		close(hold)
		wait.Wait()
		if res := get(w, "/artwork/a/1", "192.0.2.9"); res.Code != http.StatusOK {
			t.Errorf("places are not given back: %d", res.Code)
		}
	}, func(d *gateway.Deps) { d.Config.MaxRequests = 8 })
}
