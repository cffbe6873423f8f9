package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The peer is the least that could send the same bytes: net/http with HTTP/1.1 over TLS,
// ranges of the same files, one connection for each listener, 10 s of sound at a time. It
// knows no tickets, no listeners and no events.

// servePeer serves until standard input ends.
func servePeer(ctx context.Context, path string) error {
	s, err := readSpec(path)
	if err != nil {
		return err
	}
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("n"))
		if err != nil || n < 0 || n >= len(s.Objects) {
			http.NotFound(w, r)
			return
		}
		http.ServeFile(w, r, s.Objects[n])
	})
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{
		Handler: mux, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}},
		ReadHeaderTimeout: 10 * time.Second, Protocols: &http.Protocols{}, ErrorLog: log.New(io.Discard, "", 0),
	}
	srv.Protocols.SetHTTP1(true)
	fmt.Println(ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it
		_ = srv.Close()                      // the process ends
	}()
	if err := srv.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer"}, NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// burstBytes are 10 s of 160 kbit/s.
const burstBytes = 200_000

// askPeer is the listeners of the peer: each asks for the next 10 s every 10 s.
func askPeer(ctx context.Context, path string) error {
	s, err := readSpec(path)
	if err != nil {
		return err
	}
	var total, failed atomic.Uint64
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			b, err := json.Marshal(counts{Bytes: total.Load(), Errors: map[string]int{"request failed": int(failed.Load())}})
			if err != nil {
				break
			}
			fmt.Println(string(b))
		}
		stop()
	}()
	var wg sync.WaitGroup
	for n := range s.Listeners {
		wg.Go(func() {
			if !sleep(ctx, 10*time.Second*time.Duration(n)/time.Duration(s.Listeners)) {
				return
			}
			tr := &http.Transport{
				TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}, //nolint:gosec // the peer of a measurement, on loopback
				Protocols:       &http.Protocols{},
			}
			tr.Protocols.SetHTTP1(true)
			c := &http.Client{Transport: tr}
			r := mrand.New(mrand.NewPCG(uint64(n), 0x9ee7)) //nolint:gosec // draws of a test
			object, at := r.IntN(len(s.Objects)), 0
			for {
				got, err := burst(ctx, c, fmt.Sprintf("https://%s/%d", s.PeerAddr, object), at)
				if err != nil && ctx.Err() == nil {
					failed.Add(1)
				}
				total.Add(uint64(got))
				if at += burstBytes; got < burstBytes {
					object, at = r.IntN(len(s.Objects)), 0
				}
				if !sleep(ctx, 10*time.Second) {
					return
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func burst(ctx context.Context, c *http.Client, url string, at int) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", at, at+burstBytes-1))
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && res.StatusCode != http.StatusPartialContent {
		err = errors.New(res.Status)
	}
	return n, err
}
