package tlscert_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segue-music/segue/internal/tlscert"
)

// machine is a host whose addresses a test sets.
type machine struct {
	mu    sync.Mutex
	addrs []netip.Addr
}

func (m *machine) hosts() ([]string, []netip.Addr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return []string{"Attic"}, m.addrs, nil
}

func (m *machine) set(addrs ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addrs = nil
	for _, a := range addrs {
		m.addrs = append(m.addrs, netip.MustParseAddr(a))
	}
}

func deps(t *testing.T, args ...string) tlscert.Deps {
	t.Helper()
	m := &machine{}
	m.set("192.168.1.20", "8.8.8.8", "fe80::1")
	d := tlscert.Deps{Dir: t.TempDir(), Listen: "0.0.0.0:8420", Hosts: m.hosts, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now}
	set := flag.NewFlagSet("", flag.ContinueOnError)
	d.Config.RegisterFlags("tls", set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return d
}

func open(t *testing.T, d tlscert.Deps) *tlscert.Manager {
	t.Helper()
	m, err := tlscert.New(d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func leaf(t *testing.T, m *tlscert.Manager) *x509.Certificate {
	t.Helper()
	c, err := m.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func page(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// roots is what a device trusts after the page's steps.
func roots(t *testing.T, m *tlscert.Manager) (*x509.CertPool, *x509.Certificate) {
	t.Helper()
	cert, err := x509.ParseCertificate(page(t, m.TrustPages(), "/trust/ca.crt").Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool, cert
}

func TestMode(t *testing.T) {
	for name, c := range map[string]struct {
		listen string
		args   []string
		want   tlscert.Mode
		fails  bool
	}{
		"loopback":      {"127.0.0.1:0", nil, tlscert.Off, false},
		"loopback_v6":   {"[::1]:80", nil, tlscert.Off, false},
		"localhost":     {"localhost:80", nil, tlscert.Off, false},
		"everywhere":    {":8420", nil, tlscert.Self, false},
		"lan":           {"192.168.1.20:8420", nil, tlscert.Self, false},
		"domain":        {":443", []string{"-tls.domain=music.test"}, tlscert.ACME, false},
		"off_on_a_lan":  {":8420", []string{"-tls.mode=off"}, tlscert.Off, false},
		"self_at_home":  {"127.0.0.1:0", []string{"-tls.mode=self"}, tlscert.Self, false},
		"files_missing": {":8420", []string{"-tls.mode=files"}, "", true},
		"acme_nameless": {":8420", []string{"-tls.mode=acme"}, "", true},
		"misspelt":      {":8420", []string{"-tls.mode=slef"}, "", true},
		"no_such_files": {":8420", []string{"-tls.cert-file=/nowhere", "-tls.key-file=/nowhere"}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := deps(t, c.args...)
			d.Listen = c.listen
			m, err := tlscert.New(d)
			if c.fails {
				if err == nil {
					t.Error("taken")
				}
				return
			}
			if err != nil || m.Mode() != c.want {
				t.Fatalf("%v, %v", m, err)
			}
			if (m.TLSConfig() == nil) != (c.want == tlscert.Off) || m.Public() != (c.want == tlscert.ACME) {
				t.Errorf("TLS %v, public %v", m.TLSConfig() != nil, m.Public())
			}
			if c.want != tlscert.Off {
				return
			}
			for addr, ok := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "0.0.0.0:1": false, "[::]:1": false, "192.168.1.20:1": false} {
				at, err := net.ResolveTCPAddr("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				if err := m.CheckListener(at, false); (err == nil) != ok || err != nil && !errors.Is(err, tlscert.ErrPlain) {
					t.Errorf("plain HTTP on %s: %v", addr, err)
				}
				if err := m.CheckListener(at, true); err != nil {
					t.Errorf("insecure on %s: %v", addr, err)
				}
			}
		})
	}
}

func TestSelf_Certificate(t *testing.T) {
	d := deps(t, "-tls.hosts=music.example.org, 192.168.7.7")
	m := open(t, d)
	pool, _ := roots(t, m)
	for name, want := range map[string]bool{
		"localhost": true, "attic": true, "attic.local": true, "music.example.org": true, "127.0.0.1": true, "::1": true, "192.168.1.20": true,
		"192.168.7.7": true, "fe80::1": true, "8.8.8.8": false, "192.168.1.21": false, "example.org": false,
	} {
		_, err := leaf(t, m).Verify(x509.VerifyOptions{Roots: pool, DNSName: name})
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	again := open(t, d)
	if _, err := leaf(t, again).Verify(x509.VerifyOptions{Roots: pool}); err != nil {
		t.Errorf("another start made another CA: %v", err)
	}
}

func TestSelf_Secrets(t *testing.T) {
	d := deps(t)
	m := open(t, d)
	path := filepath.Join(d.Dir, "tls-ca.pem")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	left, err := os.ReadDir(d.Dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	if strings.Contains(page(t, m.TrustPages(), "/trust/ca.pem").Body.String(), "PRIVATE") {
		t.Fatal("the page gives the key out")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tlscert.New(d); !errors.Is(err, tlscert.ErrMode) {
		t.Errorf("readable by others: %v", err)
	}
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tlscert.New(d); err == nil {
		t.Error("garbage is taken for a CA")
	}
	d = deps(t)
	open(t, d)
	d.Config.Hosts = "bank.test"
	if _, err := tlscert.New(d); !errors.Is(err, tlscert.ErrHost) {
		t.Errorf("a name that the CA was not made for: %v", err)
	}
}

// TestSelf_StolenKey: with the CA's key nobody's else name can be faked.
func TestSelf_StolenKey(t *testing.T) {
	d := deps(t)
	pool, authority := roots(t, open(t, d))
	b, err := os.ReadFile(filepath.Join(d.Dir, "tls-ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(b, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, fake := range []*x509.Certificate{
		{DNSNames: []string{"bank.test"}}, {IPAddresses: []net.IP{net.IPv4(8, 8, 8, 8)}}, {DNSNames: []string{"localhost.bank.test"}},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		fake.SerialNumber, fake.NotBefore, fake.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, fake, authority, &key.PublicKey, pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool}); err == nil {
			t.Errorf("%v %v: trusted", fake.DNSNames, fake.IPAddresses)
		}
	}
}

// TestMetrics: the figure is that of the certificate in force, and there is none without.
func TestMetrics(t *testing.T) {
	m := open(t, deps(t, "-tls.mode=self"))
	if told, want := testutil.ToFloat64(m.Metrics()), float64(leaf(t, m).NotAfter.Unix()); told != want {
		t.Errorf("ends at %v, want %v", told, want)
	}
	if n := testutil.CollectAndCount(open(t, deps(t, "-tls.mode=off")).Metrics()); n != 0 {
		t.Errorf("%d figures of no certificate", n)
	}
}

func TestSelf_Renew(t *testing.T) {
	d := deps(t)
	synctest.Test(t, func(t *testing.T) {
		host := &machine{}
		host.set("192.168.1.20")
		d.Hosts, d.Now, d.Log = host.hosts, time.Now, slog.New(slog.DiscardHandler)
		m := open(t, d)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		first := leaf(t, m)
		time.Sleep(20 * 24 * time.Hour) //nolint:forbidigo // of the bubble's clock
		if !leaf(t, m).Equal(first) {
			t.Error("renewed without need")
		}
		host.set("192.168.1.20", "10.0.0.9")
		time.Sleep(5 * time.Minute) //nolint:forbidigo // of the bubble's clock
		synctest.Wait()
		if err := leaf(t, m).VerifyHostname("10.0.0.9"); err != nil {
			t.Errorf("a new address: %v", err)
		}
		for range 3 {
			time.Sleep(30 * 24 * time.Hour) //nolint:forbidigo // of the bubble's clock
			synctest.Wait()
			if now := time.Now(); leaf(t, m).NotAfter.Before(now.Add(24 * time.Hour)) {
				t.Fatalf("expires %v, it is %v", leaf(t, m).NotAfter, now)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTrustPages(t *testing.T) {
	m := open(t, deps(t))
	_, cert := roots(t, m)
	got := page(t, m.TrustPages(), "/trust")
	sum := sha256.Sum256(cert.Raw)
	plain := strings.ToLower(strings.ReplaceAll(got.Body.String(), ":", ""))
	if got.Code != http.StatusOK || !strings.Contains(plain, hex.EncodeToString(sum[:])) {
		t.Errorf("status %d, fingerprint missing", got.Code)
	}
	for _, word := range []string{"Windows", "macOS", "iPhone", "Android", "Linux", "Firefox", "/trust/ca.crt"} {
		if !strings.Contains(got.Body.String(), word) {
			t.Errorf("no word of %s", word)
		}
	}
	for _, bad := range []string{"<script", "style=", "http://"} {
		if strings.Contains(got.Body.String(), bad) {
			t.Errorf("page has %q, which the policy refuses", bad)
		}
	}
	for path, kind := range map[string]string{"/trust/ca.crt": "application/x-x509-ca-cert", "/trust/ca.pem": "application/x-pem-file", "/trust/style.css": "text/css; charset=utf-8"} {
		if res := page(t, m.TrustPages(), path); res.Code != http.StatusOK || res.Header().Get("Content-Type") != kind {
			t.Errorf("%s: %d %q", path, res.Code, res.Header().Get("Content-Type"))
		}
	}
	if res := page(t, m.TrustPages(), "/trust/tls-ca.pem"); res.Code != http.StatusNotFound {
		t.Errorf("status %d", res.Code)
	}
}

func TestPlainHandler(t *testing.T) {
	h := open(t, deps(t)).PlainHandler()
	for target, want := range map[string]string{
		"http://attic.local/a?b=c":   "https://attic.local:8420/a?b=c",
		"http://192.168.1.20:8080/":  "https://192.168.1.20:8420/",
		"http://[fe80::1]/x":         "https://[fe80::1]:8420/x",
		"http://a@evil.test/trust/x": "",
	} {
		req := httptest.NewRequest(http.MethodGet, target, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("%s goes to %q, want %q", target, got, want)
		}
	}
	if res := page(t, h, "/trust/ca.crt"); res.Code != http.StatusOK {
		t.Errorf("trust page: %d", res.Code)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://attic/login", nil))
	if w.Code != http.StatusBadRequest {
		t.Errorf("a password sent in the clear is redirected: %d", w.Code)
	}
}

func TestFiles_Reload(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(name string) {
		t.Helper()
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4e9, 0)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
		if err != nil {
			t.Fatal(err)
		}
		kb, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(
			os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
			os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}), 0o600),
		); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	d := deps(t, "-tls.cert-file="+cert, "-tls.key-file="+key)
	d.Log = slog.New(slog.DiscardHandler)
	synctest.Test(t, func(t *testing.T) {
		d.Now = time.Now
		m := open(t, d)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		name := func() string {
			time.Sleep(11 * time.Second) //nolint:forbidigo // of the bubble's clock
			synctest.Wait()
			return leaf(t, m).Subject.CommonName
		}
		write("two")
		if got := name(); got != "two" {
			t.Errorf("after a change: %s", got)
		}
		if err := os.WriteFile(key, []byte("half a"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := name(); got != "two" {
			t.Errorf("a bad key is taken: %s", got)
		}
		if err := os.Remove(cert); err != nil {
			t.Fatal(err)
		}
		if got := name(); got != "two" {
			t.Errorf("a removed certificate is taken: %s", got)
		}
		write("three")
		if got := name(); got != "three" {
			t.Errorf("after repair: %s", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
