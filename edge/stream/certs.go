package stream

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/keyring"
)

const (
	// certLife is under the 14 days that browsers allow for certificates that are
	// accepted by their hash (WebTransport, serverCertificateHashes).
	certLife = 13 * 24 * time.Hour
	// certStep is between the beginnings of two certificates: the next is announced
	// long before it is shown.
	certStep = certLife / 2
	// certSpare is the life that the one shown has left, at least.
	certSpare = 24 * time.Hour
	certFile  = "quic-certificates.pem"
)

// certificates are the one that is shown and the next one, kept in the folder of the
// secrets. They rotate by themselves.
type certificates struct {
	dir string
	now func() time.Time

	mu   sync.Mutex
	list []tls.Certificate // oldest first, never empty, with Leaf
}

func openCertificates(dir string, now func() time.Time) (*certificates, error) {
	c := &certificates{dir: dir, now: now}
	b, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	if c.list, err = parseCertificates(b); err != nil {
		// They are worth nothing beyond two weeks: new ones cost open pages a reload.
		c.list = nil
	}
	return c, c.rotate()
}

// rotate drops what is about to end and makes what is missing.
func (c *certificates) rotate() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	keep := slices.DeleteFunc(slices.Clone(c.list), func(k tls.Certificate) bool {
		return now.After(k.Leaf.NotAfter.Add(-certSpare))
	})
	if len(keep) > 0 && keep[0].Leaf.NotBefore.After(now) {
		keep = nil // the clock went back
	}
	changed := len(keep) != len(c.list)
	for len(keep) < 2 {
		begin := now.Add(-time.Hour) // clocks of clients differ
		if len(keep) > 0 {
			begin = keep[len(keep)-1].Leaf.NotBefore.Add(certStep)
		}
		k, err := makeCertificate(begin)
		if err != nil {
			return fmt.Errorf("make certificate: %w", err)
		}
		keep, changed = append(keep, k), true
	}
	if !changed {
		return nil
	}
	if err := c.save(keep); err != nil {
		return fmt.Errorf("keep certificates: %w", err)
	}
	c.list = keep
	return nil
}

// current is the certificate to show.
func (c *certificates) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.list[0]
	return &k, nil
}

// expires is when the certificate that is shown ends.
func (c *certificates) expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list[0].Leaf.NotAfter
}

// hashes are the SHA-256 of the certificate shown and of the next one.
func (c *certificates) hashes() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([][]byte, len(c.list))
	for i, k := range c.list {
		sum := sha256.Sum256(k.Leaf.Raw)
		out[i] = sum[:]
	}
	return out
}

func makeCertificate(begin time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	// The names do not count: clients accept the hash.
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "segue"}, DNSNames: []string{"localhost"},
		NotBefore: begin, NotAfter: begin.Add(certLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func parseCertificates(b []byte) ([]tls.Certificate, error) {
	var out []tls.Certificate
	for {
		keyBlock, rest := pem.Decode(b)
		if keyBlock == nil {
			return out, nil
		}
		certBlock, rest := pem.Decode(rest)
		if certBlock == nil {
			return nil, errors.New("a key without its certificate")
		}
		b = rest
		k, err := tls.X509KeyPair(pem.EncodeToMemory(certBlock), pem.EncodeToMemory(keyBlock))
		if err != nil {
			return nil, err
		}
		if k.Leaf == nil {
			if k.Leaf, err = x509.ParseCertificate(k.Certificate[0]); err != nil {
				return nil, err
			}
		}
		out = append(out, k)
	}
}

// save replaces the file as a whole.
func (c *certificates) save(list []tls.Certificate) error {
	var out bytes.Buffer
	for _, k := range list {
		der, err := x509.MarshalPKCS8PrivateKey(k.PrivateKey)
		if err != nil {
			return err
		}
		for _, block := range []*pem.Block{{Type: "PRIVATE KEY", Bytes: der}, {Type: "CERTIFICATE", Bytes: k.Certificate[0]}} {
			if err := pem.Encode(&out, block); err != nil {
				return err
			}
		}
	}
	return keyring.WriteFile(filepath.Join(c.dir, certFile), out.Bytes())
}
