package tlscert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segue-music/segue/internal/tlscert"
)

// loopbackDNS answers 127.0.0.1 for every name.
func loopbackDNS(t *testing.T) string {
	t.Helper()
	ln, _ := listen(t) // the authority asks over TCP
	srv := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = srv.ActivateAndServe() }()
	t.Cleanup(func() { _ = srv.Shutdown() })
	return ln.Addr().String()
}

// pebble runs the real ACME test authority of Let's Encrypt in this process. Its
// validation comes to the given ports.
func pebble(t *testing.T, httpPort, tlsPort int) (url, rootsFile string, authority *ca.CAImpl) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	authority = ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	check := va.New(quiet, httpPort, tlsPort, false, loopbackDNS(t), store)
	front := wfe.New(quiet, store, check, authority, []string{"pebble.test"}, false, false, 1, 1)
	srv := httptest.NewTLSServer(front.Handler())
	t.Cleanup(srv.Close)
	rootsFile = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(rootsFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return srv.URL + wfe.DirectoryPath, rootsFile, authority
}

func listen(t *testing.T) (net.Listener, int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return ln, n
}

func TestACME_Pebble(t *testing.T) {
	for name, plain := range map[string]bool{"tls_alpn": false, "http": true} {
		t.Run(name, func(t *testing.T) {
			secure, tlsPort := listen(t)
			open80, httpPort := listen(t)
			reachable := tlsPort
			if plain {
				reachable = 1 // only the plain port answers the authority
			}
			url, rootsFile, authority := pebble(t, httpPort, reachable)
			args := []string{"-tls.domain=music.segue.test", "-tls.acme-url=" + url, "-tls.acme-roots=" + rootsFile, "-tls.email=a@segue.test"}
			if plain {
				args = append(args, "-tls.http-listen="+open80.Addr().String())
			}
			d := deps(t, args...)
			d.Listen = secure.Addr().String()
			m, err := tlscert.New(d)
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: http.NotFoundHandler(), TLSConfig: m.TLSConfig(), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Second}
			go func() { _ = srv.ServeTLS(secure, "", "") }()
			t.Cleanup(func() { _ = srv.Close() })
			if plain {
				front := &http.Server{Handler: m.PlainHandler(), ReadHeaderTimeout: time.Second}
				go func() { _ = front.Serve(open80) }()
				t.Cleanup(func() { _ = front.Close() })
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- m.Run(ctx) }()

			pool := x509.NewCertPool()
			root, _ := pem.Decode(authority.GetRootCert(0).PEM())
			cert, err := x509.ParseCertificate(root.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			pool.AddCert(cert)
			deadline := time.Now().Add(20 * time.Second)
			for {
				conn, err := tls.Dial("tcp", secure.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "music.segue.test", MinVersion: tls.VersionTLS12})
				if err == nil {
					_ = conn.Close()
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("no certificate: %v", err)
				}
				select {
				case err := <-done:
					t.Fatalf("run ended: %v", err)
				case <-time.After(50 * time.Millisecond):
				}
			}
			told := testutil.ToFloat64(m.Metrics())
			if until := time.Unix(int64(told), 0); !until.After(time.Now().Add(time.Hour)) {
				t.Errorf("the certificate is told to end at %s", until)
			}
			other := &tls.Config{InsecureSkipVerify: true, ServerName: "evil.test", MinVersion: tls.VersionTLS12} // it is to fail before
			if conn, err := tls.Dial("tcp", secure.Addr().String(), other); err == nil {
				t.Error("a certificate for another name")
				_ = conn.Close()
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			// The account's and the certificate's keys are secrets.
			err = filepath.WalkDir(d.Dir, func(path string, e os.DirEntry, err error) error {
				if err != nil || !strings.HasSuffix(path, ".key") {
					return err
				}
				info, err := e.Info()
				if err == nil && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s has mode %s", path, info.Mode())
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
