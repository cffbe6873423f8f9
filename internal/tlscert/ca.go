package tlscert

import (
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
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/segue-music/segue/internal/keyring"
)

const (
	caFile = "tls-ca.pem"
	caLife = 10 * 365 * 24 * time.Hour
	// leafLife is far below the 825 days that Apple allows under an own root.
	leafLife  = 90 * 24 * time.Hour
	leafRenew = 30 * 24 * time.Hour
)

var (
	// ErrMode refuses a CA file that others may read.
	ErrMode = errors.New("CA file may be read by others")
	// ErrHost says that the CA was made without a name that it is now to vouch for.
	ErrHost = errors.New("the local CA was not made for this name")
)

// ca is the local authority. It can vouch for names of a home network and the names that
// it was made for, and nothing else (RFC 5280 section 4.2.1.10): should its key be
// stolen, nobody's bank can be faked with it.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// openCA reads the CA of a folder, or makes it. Of two processes that make it at once the
// first one's counts.
func openCA(dir string, names []string, now time.Time) (*ca, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open secrets folder: %w", err)
	}
	path := filepath.Join(dir, caFile)
	c, err := readCA(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if err := makeCA(path, names, now); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make local CA: %w", err)
	}
	return readCA(path)
}

func readCA(path string) (*ca, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("read local CA: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read local CA: %w: %s has mode %s", ErrMode, path, info.Mode())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read local CA: %w", err)
	}
	pair, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, fmt.Errorf("read local CA %s: %w", path, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("read local CA %s: it is none of ours", path)
	}
	return &ca{cert: pair.Leaf, key: key}, nil
}

func makeCA(path string, names []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	host := "this server"
	if len(names) > 0 {
		host = names[0]
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Segue local CA of " + host, Organization: []string{"Segue"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         append([]string{"localhost", "local", "lan", "home.arpa", "internal"}, names...),
	}
	for _, p := range privateRanges() {
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	b := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	return keyring.CreateFile(path, b)
}

// privateRanges are the addresses of home networks, link-local ones and loopback.
func privateRanges() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10"} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func private(a netip.Addr) bool {
	for _, p := range privateRanges() {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// covers reports whether the CA can vouch for a name.
func (c *ca) covers(name string) bool {
	name = strings.ToLower(name)
	for _, d := range c.cert.PermittedDNSDomains {
		if name == d || strings.HasSuffix(name, "."+d) {
			return true
		}
	}
	return false
}

// issue makes a server certificate.
func (c *ca) issue(names []string, addrs []netip.Addr, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if template.NotAfter.After(c.cert.NotAfter) {
		template.NotAfter = c.cert.NotAfter
	}
	for _, a := range addrs {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, &key.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// fingerprint is the SHA-256 of a certificate, as browsers show it.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	h := strings.ToUpper(hex.EncodeToString(sum[:]))
	var parts []string
	for i := 0; i < len(h); i += 2 {
		parts = append(parts, h[i:i+2])
	}
	return strings.Join(parts, ":")
}
