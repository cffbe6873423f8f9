// Package tlscert gives the server its certificate: from files of the owner's, from an
// ACME authority for a domain, or from a local CA of its own, made once, that the
// devices of a LAN can be told to trust. Plain HTTP is for loopback.
//
// Browsers give WebCrypto, audio worklets and WebTransport only to pages that came over
// TLS or from loopback, so a server on a LAN needs a certificate to play anything.
package tlscert

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// Mode is where the certificate comes from.
type Mode string

// The modes. Auto is Acme with a domain, Files with files, Off on loopback, else Self.
const (
	Auto  Mode = "auto"
	Off   Mode = "off"
	Self  Mode = "self"
	Files Mode = "files"
	ACME  Mode = "acme"
)

// Config of the certificate.
type Config struct {
	Mode       string
	Hosts      string // comma-separated, of Self
	CertFile   string
	KeyFile    string
	Domain     string // comma-separated, of ACME
	Email      string
	ACMEURL    string
	ACMERoots  string // PEM file
	HTTPListen string
}

// RegisterFlags names the flags and sets the defaults.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Mode, prefix+".mode", string(Auto), "auto, off, self, files or acme; auto is off on loopback and a local CA elsewhere")
	fs.StringVar(&c.Hosts, prefix+".hosts", "", "comma-separated further names of this server for its own certificate")
	fs.StringVar(&c.CertFile, prefix+".cert-file", "", "PEM file of the certificate and its chain, read again when it changes")
	fs.StringVar(&c.KeyFile, prefix+".key-file", "", "PEM file of the certificate's key")
	fs.StringVar(&c.Domain, prefix+".domain", "", "comma-separated public names for which to get a certificate by ACME")
	fs.StringVar(&c.Email, prefix+".email", "", "address for the ACME authority's warnings")
	fs.StringVar(&c.ACMEURL, prefix+".acme-url", "https://acme-v02.api.letsencrypt.org/directory", "directory of the ACME authority")
	fs.StringVar(&c.ACMERoots, prefix+".acme-roots", "", "PEM file of the roots by which the ACME authority itself is trusted")
	fs.StringVar(&c.HTTPListen, prefix+".http-listen", "", "address of a plain HTTP port that redirects, tells how to trust the local CA and answers ACME's HTTP challenge")
}

// Check refuses settings that cannot work for a listener at an address.
func (c *Config) Check(listen string) error {
	_, err := resolve(*c, listen)
	return err
}

// Deps are what a Manager needs. Hosts may be nil.
type Deps struct {
	Config Config
	// Dir is the secrets folder.
	Dir string
	// Listen is the address of the HTTPS listener; its port may be 0.
	Listen string
	// Hosts are the names and addresses of this machine; nil asks the system.
	Hosts func() (names []string, addrs []netip.Addr, err error)
	Log   *slog.Logger
	Now   func() time.Time
}

// ErrPlain refuses plain HTTP on an address that is not loopback.
var ErrPlain = errors.New("plain HTTP is for loopback addresses: choose a TLS mode, or -http.insecure behind a proxy that ends TLS")

// errOff is what a handshake reads in mode Off.
var errOff = errors.New("this server has no certificate")

// source is one mode.
type source interface {
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// run keeps the certificate fresh until ctx ends.
	run(ctx context.Context) error
}

// Manager holds the certificate of one server.
type Manager struct {
	mode   Mode
	source source
	self   *selfSource // of mode Self
	acme   *acmeSource // of mode ACME
	port   string
}

// New reads or makes the certificate; one by ACME is asked for by Run.
func New(d Deps) (*Manager, error) {
	mode, err := resolve(d.Config, d.Listen)
	if err != nil {
		return nil, fmt.Errorf("configure TLS: %w", err)
	}
	if d.Hosts == nil {
		d.Hosts = systemHosts
	}
	m := &Manager{mode: mode}
	if _, port, err := net.SplitHostPort(d.Listen); err == nil {
		m.port = port
	}
	switch mode {
	case Self:
		m.self, err = newSelf(d)
		m.source = m.self
	case Files:
		m.source, err = newFiles(d)
	case ACME:
		m.acme, err = newACME(d)
		m.source = m.acme
	case Auto, Off: // resolve leaves no Auto, and Off has no source
	}
	if err != nil {
		return nil, fmt.Errorf("set up TLS mode %s: %w", mode, err)
	}
	return m, nil
}

func resolve(c Config, listen string) (Mode, error) {
	mode := Mode(c.Mode)
	if !slices.Contains([]Mode{Auto, Off, Self, Files, ACME}, mode) {
		return "", fmt.Errorf("mode %q is none of auto, off, self, files, acme", c.Mode)
	}
	if mode == Auto {
		switch {
		case c.Domain != "":
			mode = ACME
		case c.CertFile != "":
			mode = Files
		case isLoopback(listen):
			mode = Off
		default:
			mode = Self
		}
	}
	switch {
	case mode == Files && (c.CertFile == "" || c.KeyFile == ""):
		return "", errors.New("mode files needs a cert-file and a key-file")
	case mode == ACME && c.Domain == "":
		return "", errors.New("mode acme needs a domain")
	}
	return mode, nil
}

// isLoopback reports whether an address to listen on can be reached from this machine alone.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// CheckListener refuses plain HTTP on an address that others can reach.
func (m *Manager) CheckListener(addr net.Addr, insecure bool) error {
	if m.mode != Off || insecure || isLoopback(addr.String()) {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrPlain, addr)
}

// Mode is the mode in force, never Auto.
func (m *Manager) Mode() Mode { return m.mode }

// Public reports whether the certificate is of an authority that strangers trust.
func (m *Manager) Public() bool { return m.mode == Files || m.mode == ACME }

// GetCertificate serves tls.Config, also that of the QUIC listener. In mode Off it fails.
func (m *Manager) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if m.source == nil {
		return nil, errOff
	}
	return m.source.get(hello)
}

// TLSConfig is that of the HTTPS listener, nil in mode Off.
func (m *Manager) TLSConfig() *tls.Config {
	if m.mode == Off {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: m.GetCertificate, NextProtos: []string{"h2", "http/1.1"}}
	if m.mode == ACME {
		c.NextProtos = append(c.NextProtos, acmeALPN)
	}
	return c
}

// Run keeps the certificate fresh until ctx ends, then returns nil. In mode ACME it first
// waits for the listeners to be open, for the authority comes to them.
func (m *Manager) Run(ctx context.Context) error {
	if m.source == nil {
		<-ctx.Done()
		return nil
	}
	return m.source.run(ctx)
}

// TrustPages answer /trust and below; nil but in mode Self.
func (m *Manager) TrustPages() http.Handler {
	if m.self == nil {
		return nil
	}
	return m.self.pages()
}

// PlainHandler is for a plain HTTP port beside the HTTPS one: it answers the ACME
// challenge, shows how to trust the local CA, and sends everything else to HTTPS.
func (m *Manager) PlainHandler() http.Handler {
	redirect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.Trim(host, "[]")
		if host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") != "" ||
			r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "use https", http.StatusBadRequest)
			return
		}
		if m.port != "" && m.port != "443" && m.port != "0" {
			host = net.JoinHostPort(host, m.port)
		} else if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusTemporaryRedirect) //nolint:gosec // the host that was asked for
	})
	mux := http.NewServeMux()
	mux.Handle("/", redirect)
	if pages := m.TrustPages(); pages != nil {
		mux.Handle("/trust", pages)
		mux.Handle("/trust/", pages)
	}
	if m.acme != nil {
		return m.acme.issuer.HTTPChallengeHandler(mux)
	}
	return mux
}

// systemHosts asks the system for its name and addresses.
func systemHosts() (names []string, addrs []netip.Addr, err error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, nil, fmt.Errorf("read host name: %w", err)
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, nil, fmt.Errorf("read addresses: %w", err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap().WithZone(""))
		}
	}
	return []string{name}, addrs, nil
}
