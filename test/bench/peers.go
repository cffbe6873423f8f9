package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// makeCertificate writes a small certificate of the peers, which is its own authority.
func makeCertificate(certFile, keyFile, ip string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peers"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return fmt.Errorf("write certificate: %w", err)
		}
	}
	return nil
}

// servePeers serves the same music the usual ways: as files over HTTP/1.1, 2 and 3, as HLS
// segments, and behind an API on another port that says where the files are.
func servePeers(ctx context.Context, text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("read spec: %w", err)
	}
	cert, err := tls.LoadX509KeyPair(s.PeerCert, s.PeerKey)
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	config := func() *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	}
	media := http.NewServeMux()
	files := http.FileServer(http.Dir(s.Media))
	media.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { files.ServeHTTP(pieces{w}, r) }))
	api := http.NewServeMux()
	api.HandleFunc("/play", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// The client that hangs up needs no answer.
		_ = json.NewEncoder(w).Encode(map[string]string{"url": s.mediaURL(r.FormValue("path"))})
	})
	for _, h := range []http.Handler{media, api} {
		for _, path := range []string{"/ping"} {
			h.(*http.ServeMux).HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		}
	}
	ended := make(chan error, 4)
	for port, h := range map[int]http.Handler{mediaPort: media, apiPort: api} {
		srv := &http.Server{Addr: s.host(port), Handler: h, TLSConfig: config(), ReadHeaderTimeout: 10 * time.Second}
		defer srv.Close()
		go func() { ended <- srv.ListenAndServeTLS("", "") }()
	}
	h3 := &http3.Server{Addr: s.host(mediaPort), Handler: media, TLSConfig: http3.ConfigureTLSConfig(config()), QUICConfig: &quic.Config{Allow0RTT: true}}
	defer h3.Close()
	go func() { ended <- h3.ListenAndServe() }()
	echo, err := net.ListenPacket("udp", s.host(echoPort))
	if err != nil {
		return fmt.Errorf("listen for echo: %w", err)
	}
	defer echo.Close()
	go func() { ended <- serveEcho(echo) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve peers: %w", err)
	case <-ctx.Done():
		return nil
	}
}

// serveEcho sends back what comes: what the round trip alone takes.
func serveEcho(c net.PacketConn) error {
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return fmt.Errorf("echo: %w", err)
		}
		if _, err := c.WriteTo(b[:n], from); err != nil {
			return fmt.Errorf("echo: %w", err)
		}
	}
}

// pieces writes bodies in pieces of 8 KB, as nginx does for HTTP/2. With net/http's 32 KB
// the first audio would wait for a frame of 16 KB, a round trip more on a new connection.
type pieces struct{ http.ResponseWriter }

func (p pieces) ReadFrom(r io.Reader) (int64, error) {
	b := make([]byte, 8<<10)
	var sum int64
	flush := http.NewResponseController(p.ResponseWriter)
	for {
		n, err := r.Read(b)
		if n > 0 {
			if _, err := p.Write(b[:n]); err != nil {
				return sum, err
			}
			sum += int64(n)
			// What cannot be flushed goes with the next piece.
			_ = flush.Flush()
		}
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
	}
}

func (s *spec) host(port int) string { return net.JoinHostPort(s.PeerIP, strconv.Itoa(port)) }

func (s *spec) mediaURL(path string) string { return "https://" + s.host(mediaPort) + "/" + path }

func (s *spec) apiURL(path string) string { return "https://" + s.host(apiPort) + "/" + path }

// echo measures the bare round trip, so that one sees what the link and the machine add.
func (n *native) echo(ctx context.Context) (result, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", n.host(echoPort))
	if err != nil {
		return result{Name: caseRTT}, fmt.Errorf("dial echo: %w", err)
	}
	defer c.Close()
	b := make([]byte, 64)
	return n.measure(ctx, caseRTT, func() (time.Duration, func(), error) {
		for lost := 0; ; lost++ {
			start := time.Now()
			err := errors.Join(c.SetDeadline(start.Add(time.Second)), writeRead(c, b))
			if err == nil || lost == 10 || !errors.Is(err, os.ErrDeadlineExceeded) {
				return time.Since(start), nil, err
			}
		}
	})
}

func writeRead(c net.Conn, b []byte) error {
	if _, err := c.Write(b); err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	if _, err := c.Read(b); err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	return nil
}
