// Package mtls is how the processes of one installation know each other: each has a
// certificate of the installation's own authority that names the targets it runs, as the
// DNS names TARGET.segue.internal. A caller speaks for no other target than those.
package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/credfile"
)

// suffix of the names in certificates.
const suffix = ".segue.internal"

// Name is the DNS name of a target.
func Name(target string) string { return target + suffix }

// Targets are those that the peer of a connection may speak for.
func Targets(c *tls.ConnectionState) (targets []string) {
	if c == nil || len(c.VerifiedChains) == 0 {
		return nil
	}
	for _, name := range c.PeerCertificates[0].DNSNames {
		if t, ok := strings.CutSuffix(name, suffix); ok && t != "" {
			targets = append(targets, t)
		}
	}
	return targets
}

// Files hold a process's certificate with its key and the authority's certificate, each
// in PEM.
type Files struct{ Cert, Key, CA string }

// None says that there are no certificates.
func (f Files) None() bool { return f == Files{} }

// Check refuses a part of them.
func (f Files) Check() error {
	if !f.None() && (f.Cert == "" || f.Key == "" || f.CA == "") {
		return errors.New("certificate, key and authority are needed, all three or none")
	}
	return nil
}

// rereadEvery is how often the files are looked at, as connections come: whoever renews a
// certificate replaces the files.
const rereadEvery = time.Minute

// Identity is what a process shows and whom it trusts.
type Identity struct {
	files Files
	now   func() time.Time
	pool  *x509.CertPool

	mu   sync.Mutex
	cert *tls.Certificate
	next time.Time
	fail func(error)
}

// Open reads the files. The certificate must name all targets, and be good now. fail is
// told when it cannot be read anew later; the old one is shown until it ends.
func Open(f Files, targets []string, now func() time.Time, fail func(error)) (*Identity, error) {
	pool, err := credfile.Authorities(f.CA)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	i := &Identity{files: f, now: now, pool: pool, fail: fail}
	if i.cert, err = i.read(); err != nil {
		return nil, err
	}
	i.next = now().Add(rereadEvery)
	for _, t := range targets {
		if !slices.Contains(i.cert.Leaf.DNSNames, Name(t)) {
			return nil, fmt.Errorf("certificate %s does not name %s", f.Cert, Name(t))
		}
	}
	return i, nil
}

// read reads certificate and key and checks that the authority's others will take it.
func (i *Identity) read() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(i.files.Cert, i.files.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	between := x509.NewCertPool()
	for _, der := range c.Certificate[1:] {
		if ca, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(ca)
		}
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: i.pool, Intermediates: between, CurrentTime: i.now(), KeyUsages: []x509.ExtKeyUsage{use}})
		if err != nil {
			return nil, fmt.Errorf("check certificate %s: %w", i.files.Cert, err)
		}
	}
	return &c, nil
}

// certificate is the one to show now.
func (i *Identity) certificate() *tls.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now := i.now(); !now.Before(i.next) {
		i.next = now.Add(rereadEvery)
		if c, err := i.read(); err != nil {
			i.fail(err)
		} else {
			i.cert = c
		}
	}
	return i.cert
}

// Server is the configuration for calls from others, who must show a certificate.
func (i *Identity) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: i.pool, Time: i.now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate(), nil },
	}
}

// Client is the configuration for calls to a target: only a process that runs it is
// answered by.
func (i *Identity) Client(target string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: i.pool, ServerName: Name(target), Time: i.now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate(), nil },
	}
}
