package client

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// errPin refuses a certificate that the endpoint did not announce.
var errPin = errors.New("client: certificate is not one that was announced")

// sessionCache is a TLS session cache per set of announced certificates: a session
// from before the last rotation would resume with a certificate no longer announced.
type sessionCache struct{ tls.ClientSessionCache }

func newSessionCache() *sessionCache {
	return &sessionCache{tls.NewLRUClientSessionCache(64)}
}

type scopedCache struct {
	cache tls.ClientSessionCache
	scope string
}

func (c scopedCache) Get(key string) (*tls.ClientSessionState, bool) {
	return c.cache.Get(c.scope + key)
}

func (c scopedCache) Put(key string, s *tls.ClientSessionState) { c.cache.Put(c.scope+key, s) }

// tlsConfig is for one endpoint.
func tlsConfig(e Endpoint, r *Resumption, now func() time.Time) *tls.Config {
	host, _, err := net.SplitHostPort(e.QUIC)
	if err != nil {
		host = e.QUIC
	}
	var scope strings.Builder
	for _, h := range e.CertificateSHA256 {
		scope.Write(h)
	}
	scope.WriteString(e.QUIC) // the port too: two servers of one host share no keys
	c := &tls.Config{
		ServerName: host, NextProtos: []string{"segue/1"}, MinVersion: tls.VersionTLS13,
		Time: now, ClientSessionCache: scopedCache{r.tls, scope.String()},
	}
	if len(e.CertificateSHA256) == 0 {
		return c
	}
	// The announced hash takes the place of the chain.
	c.InsecureSkipVerify = true // VerifyConnection below decides
	pins := slices.Clone(e.CertificateSHA256)
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errPin
		}
		leaf := s.PeerCertificates[0]
		sum := sha256.Sum256(leaf.Raw)
		if t := now(); t.Before(leaf.NotBefore) || t.After(leaf.NotAfter) {
			return errPin
		}
		if !slices.ContainsFunc(pins, func(p []byte) bool { return string(p) == string(sum[:]) }) {
			return errPin
		}
		return nil
	}
	return c
}

func fallbackTransport() http.RoundTripper {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableCompression: true,
		MaxIdleConns: 8, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: 15 * time.Second,
	}
}
