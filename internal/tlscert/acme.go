package tlscert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/segue-music/segue/internal/credfile"
)

// acmeALPN is the protocol of the TLS-ALPN challenge (RFC 8737).
const acmeALPN = "acme-tls/1"

// acmeSource gets and renews certificates by ACME (RFC 8555).
type acmeSource struct {
	cache   *certmagic.Cache
	magic   *certmagic.Config
	issuer  *certmagic.ACMEIssuer
	domains []string
	doors   []string // at which the authority will knock
}

func newACME(d Deps) (*acmeSource, error) {
	s := &acmeSource{domains: splitList(d.Config.Domain), doors: []string{d.Listen}}
	if d.Config.HTTPListen != "" {
		s.doors = append(s.doors, d.Config.HTTPListen)
	}
	log := zap.New(slogCore{log: d.Log})
	template := certmagic.ACMEIssuer{
		CA: d.Config.ACMEURL, TestCA: d.Config.ACMEURL, Email: d.Config.Email, Agreed: true, Logger: log,
		// Without a plain port of ours the library would open one.
		DisableHTTPChallenge: d.Config.HTTPListen == "",
	}
	var err error
	if template.AltTLSALPNPort, err = portOf(d.Listen); err != nil {
		return nil, err
	}
	if d.Config.HTTPListen != "" {
		if template.AltHTTPPort, err = portOf(d.Config.HTTPListen); err != nil {
			return nil, err
		}
	}
	if d.Config.ACMERoots != "" {
		if template.TrustedRoots, err = credfile.Authorities(d.Config.ACMERoots); err != nil {
			return nil, fmt.Errorf("read ACME roots: %w", err)
		}
	}
	s.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return s.magic, nil },
		Logger:           log,
	})
	s.magic = certmagic.New(s.cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: filepath.Join(d.Dir, "acme")}, Logger: log})
	s.issuer = certmagic.NewACMEIssuer(s.magic, template)
	s.magic.Issuers = []certmagic.Issuer{s.issuer}
	return s, nil
}

func portOf(listen string) (int, error) {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return 0, fmt.Errorf("read port of %q: %w", listen, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("read port of %q: %w", listen, err)
	}
	return int(n), nil
}

func (s *acmeSource) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "" && len(s.domains) > 0 {
		named := *hello
		named.ServerName = s.domains[0] // old clients and probes by address
		hello = &named
	}
	return s.magic.GetCertificate(hello)
}

// run asks for the certificates and renews them; the library tries again by itself.
func (s *acmeSource) run(ctx context.Context) error {
	defer s.cache.Stop()
	for _, at := range s.doors {
		if err := awaitDoor(ctx, at); err != nil {
			return nil // ctx has ended
		}
	}
	if err := s.magic.ManageAsync(ctx, s.domains); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("get certificates by ACME: %w", err)
	}
	<-ctx.Done()
	return nil
}

// awaitDoor waits until something of ours listens at an address. The library would
// otherwise open the port itself, and keep it from us.
func awaitDoor(ctx context.Context, at string) error {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return fmt.Errorf("read address %q: %w", at, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
