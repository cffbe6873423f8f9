//go:build engines

package kafkaconn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segue-music/segue/internal/testengine"
)

// certificate makes one for localhost that vouches for itself.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		written(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConfig: who has the certificate and the password is let in by a real broker, by TLS.
func TestConfig(t *testing.T) {
	cert, key := certificate(t)
	kafka := testengine.SecuredKafka(t, testengine.Secrets{Cert: cert, Key: key, User: "segue", Password: "correct horse"})
	good := Config{Brokers: kafka.Secured, TLS: true, CAFile: cert, Username: "segue", PasswordFile: written(t, "correct horse\n")}
	for name, c := range map[string]struct {
		change func(*Config)
		ok     bool
	}{
		"good":            {func(*Config) {}, true},
		"sha_256":         {func(c *Config) { c.Mechanism = scram256 }, false}, // the broker has none
		"wrong_password":  {func(c *Config) { c.PasswordFile = written(t, "correct") }, false},
		"wrong_user":      {func(c *Config) { c.Username = "sega" }, false},
		"nobody":          {func(c *Config) { c.Username, c.PasswordFile = "", "" }, false},
		"other_authority": {func(c *Config) { c.CAFile, _ = certificate(t) }, false},
		"in_the_clear":    {func(c *Config) { c.TLS, c.CAFile = false, "" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			conf := good
			c.change(&conf)
			opts, err := conf.Options()
			if err != nil {
				t.Fatal(err)
			}
			client, err := kgo.NewClient(append(opts, kgo.RequestRetries(0), kgo.RetryTimeout(5*time.Second))...)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := client.Ping(ctx); (err == nil) != c.ok {
				t.Errorf("let in: %v", err)
			}
		})
	}
}
