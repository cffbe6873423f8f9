//go:build engines

package redisdb

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/internal/testengine"
)

var echo = NewScript("echo", `return {ARGV[1]}`) //nolint:gochecknoglobals // never changes

// client is one that runs until the test ends.
func client(t *testing.T, c Config) *Client {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Millisecond
	}
	cl, err := Open(c, Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := cl.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		all.Wait()
		if err := cl.Close(); err != nil {
			t.Error(err)
		}
	})
	return cl
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for tick := time.NewTicker(time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("no %s within 20 s", what)
		}
	}
}

func there(t *testing.T, c *Client) {
	t.Helper()
	until(t, "Redis", func() bool { return !c.Away() })
}

func TestClient(t *testing.T) {
	r := testengine.Redis(t)
	c := client(t, Config{Addr: r.Addr, Timeout: 100 * time.Millisecond})
	there(t, c)
	answer, err := c.Do(t.Context(), echo, "k", "word")
	if err != nil || len(answer) != 1 || answer[0] != "word" {
		t.Fatalf("%v, %v", answer, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, err := c.Do(ended, echo, "k", "word"); !errors.Is(err, context.Canceled) {
			t.Fatalf("a call of a caller who has gone: %v", err)
		}
	}
	if c.Away() {
		t.Error("callers who go make Redis away")
	}
	r.Crash()
	if err := r.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "answer after a restart, which forgets scripts", func() bool { _, err := c.Do(t.Context(), echo, "k", "x"); return err == nil })
}

// TestClient_Away: a Redis that does not answer costs some calls a few milliseconds each,
// and the others nothing, until it is back.
func TestClient_Away(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, addr := range []string{silent.Addr().String(), "127.0.0.1:1", "192.0.2.1:6379"} {
		if _, err := client(t, Config{Addr: addr}).Do(t.Context(), echo, "k", "x"); !errors.Is(err, ErrAway) {
			t.Errorf("%s before it was ever found: %v", addr, err)
		}
	}
	r := testengine.Redis(t)
	c := client(t, Config{Addr: r.Addr})
	for name, fail := range map[string]struct{ begin, end func() error }{
		"paused":  {r.Pause, r.Resume},
		"crashed": {func() error { r.Crash(); return nil }, func() error { return r.Restart(t.Context()) }},
	} {
		t.Run(name, func(t *testing.T) {
			there(t, c)
			if err := fail.begin(); err != nil {
				t.Fatal(err)
			}
			waited := 0
			var longest, all time.Duration
			const calls = 10_000
			for range calls {
				began := time.Now()
				if _, err := c.Do(t.Context(), echo, "k", "x"); err == nil {
					t.Fatal("it answers")
				} else if !errors.Is(err, ErrAway) {
					waited++
				}
				took := time.Since(began)
				longest, all = max(longest, took), all+took
			}
			t.Logf("%d calls, %d of them waited, the longest %s; %s each", calls, waited, longest, all/calls)
			// The longest is 10 ms where the machine does nothing else.
			if waited > 3 || longest > time.Second || all/calls > 100*time.Microsecond {
				t.Errorf("%d calls, %d of them waited, the longest %s; %s each", calls, waited, longest, all/calls)
			}
			if err := fail.end(); err != nil {
				t.Fatal(err)
			}
			there(t, c)
		})
	}
}

// TestClient_Slow: a Redis that answers too late is away, however surely it answers.
func TestClient_Slow(t *testing.T) {
	p := testengine.NewProxy(t, testengine.Redis(t).Addr)
	c := client(t, Config{Addr: p.Addr, Timeout: 20 * time.Millisecond})
	there(t, c)
	p.Spoil(60*time.Millisecond, func() testengine.Fate { return testengine.Late })
	until(t, "end of the calls", func() bool { _, err := c.Do(t.Context(), echo, "k", "x"); return errors.Is(err, ErrAway) })
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if _, err := c.Do(t.Context(), echo, "k", "x"); !errors.Is(err, ErrAway) {
			t.Fatalf("a call is made: %v", err)
		}
	}
	p.Spoil(0, nil)
	there(t, c)
}

// TestClient_Step: no call is ever given the answer of another, though answers are lost,
// late, doubled and cut off.
func TestClient_Step(t *testing.T) {
	p := testengine.NewProxy(t, testengine.Redis(t).Addr)
	c := client(t, Config{Addr: p.Addr, Timeout: 5 * time.Millisecond})
	there(t, c)
	p.Spoil(8*time.Millisecond, func() testengine.Fate {
		if rand.IntN(20) > 0 {
			return testengine.Pass
		}
		return testengine.Drop + testengine.Fate(rand.IntN(4))
	})
	var all sync.WaitGroup
	answered := make([]int, 8)
	for i := range answered {
		all.Go(func() {
			for n, end := 0, time.Now().Add(3*time.Second); time.Now().Before(end); n++ {
				want := fmt.Sprint(i, " ", n)
				answer, err := c.Do(t.Context(), echo, "k", want)
				switch {
				case errors.Is(err, ErrAway):
					<-time.After(time.Millisecond)
				case err != nil:
				case len(answer) != 1 || answer[0] != want:
					t.Errorf("%q is answered by %v", want, answer)
				default:
					answered[i]++
				}
			}
		})
	}
	all.Wait()
	t.Log("answered:", answered)
	p.Spoil(0, nil)
	there(t, c)
	if _, err := c.Do(t.Context(), echo, "k", "after"); err != nil {
		until(t, "answer after it all", func() bool { _, err := c.Do(t.Context(), echo, "k", "after"); return err == nil })
	}
}

func TestClient_Password(t *testing.T) {
	r := testengine.Redis(t, "requirepass", "open sesame")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	there(t, client(t, Config{Addr: r.Addr, PasswordFile: file}))
	c := client(t, Config{Addr: r.Addr})
	if err := c.probe(t.Context()); err == nil {
		t.Error("it lets everybody in")
	}
	if _, err := Open(Config{Addr: r.Addr, Timeout: time.Millisecond, PasswordFile: file + "x"}, Options{}); err == nil {
		t.Error("a password file that is not there is no error")
	}
}

// TestClient_Cluster: several addresses are a cluster, here of one node with all slots.
func TestClient_Cluster(t *testing.T) {
	r := testengine.Redis(t, "cluster-enabled", "yes")
	one := client(t, Config{Addr: r.Addr, Timeout: time.Second})
	if err := one.current().Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	c := client(t, Config{Addr: r.Addr + "," + r.Addr, Timeout: time.Second})
	there(t, c)
	for i := range 100 {
		if answer, err := c.Do(t.Context(), echo, fmt.Sprint("key", i), "x"); err != nil || answer[0] != "x" {
			t.Fatalf("key %d: %v, %v", i, answer, err)
		}
	}
}

func TestNotices(t *testing.T) {
	r := testengine.Redis(t)
	p := testengine.NewProxy(t, r.Addr)
	type word struct{ name, text string }
	heard := make(chan word, 1000)
	listening := client(t, Config{Addr: p.Addr, Timeout: 100 * time.Millisecond}).Notices("test:")
	telling := client(t, Config{Addr: r.Addr, Timeout: 100 * time.Millisecond})
	tells := telling.Notices("test:")
	there(t, telling)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = listening.Run(ctx, func(name, text string) { heard <- word{name, text} }) })
	all.Go(func() {
		_ = tells.Run(ctx, func(name, text string) { t.Errorf("told %s %s though it follows nothing", name, text) })
	})
	t.Cleanup(func() { cancel(); all.Wait() })
	next := func(want word) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Fatalf("heard %v, want %v", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("heard nothing, want %v", want)
		}
	}
	listening.Follow("ann")
	next(word{"ann", ""})
	tells.Tell("bob", "not for us")
	tells.Tell("ann", "one")
	next(word{"ann", "one"})
	p.Away(true)
	until(t, "end of the connection", func() bool {
		n, err := telling.current().PubSubNumSub(ctx, "test:ann").Result()
		return err == nil && n["test:ann"] == 0
	})
	listening.Follow("eve")
	p.Away(false)
	again := map[word]bool{}
	for range 2 {
		select {
		case w := <-heard:
			again[w] = true
		case <-time.After(20 * time.Second):
			t.Fatal("followed anew, nothing heard")
		}
	}
	if !again[word{"ann", ""}] || !again[word{"eve", ""}] {
		t.Errorf("heard %v after a new connection", again)
	}
	listening.Unfollow("ann")
	until(t, "end of following", func() bool {
		n, err := telling.current().PubSubNumSub(ctx, "test:ann").Result()
		return err == nil && n["test:ann"] == 0
	})
	tells.Tell("ann", "two")
	listening.Tell("eve", "from itself")
	tells.Tell("eve", "three")
	next(word{"eve", "three"})
}

// TestClient_TLS: Redis must show a certificate of the authority that is named.
func TestClient_TLS(t *testing.T) {
	cert, key := certificate(t)
	r := testengine.Redis(t, "tls-cert-file", cert, "tls-key-file", key, "tls-auth-clients", "no")
	there(t, client(t, Config{Addr: r.Addr, TLS: true, CAFile: cert}))
	for name, c := range map[string]Config{"without_tls": {Addr: r.Addr}, "system_authorities": {Addr: r.Addr, TLS: true}} {
		if err := client(t, c).probe(t.Context()); err == nil {
			t.Errorf("%s: it is let in", name)
		}
	}
}

// certificate makes one for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
