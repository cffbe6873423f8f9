package stream

import (
	"crypto/ecdsa"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCertificates_Rotate(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	c, err := openCertificates(dir, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	announced := c.hashes()
	if len(announced) != 2 {
		t.Fatalf("%d hashes", len(announced))
	}
	shown := announced[0]
	for range 24 * 60 {
		now = now.Add(time.Hour)
		if err := c.rotate(); err != nil {
			t.Fatal(err)
		}
		k, err := c.current(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf := k.Leaf
		if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter.Add(-certSpare)) || leaf.NotAfter.Sub(leaf.NotBefore) > 14*24*time.Hour {
			t.Fatalf("at %s shows one of %s to %s", now, leaf.NotBefore, leaf.NotAfter)
		}
		if _, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok {
			t.Fatal("not ECDSA")
		}
		h := c.hashes()
		if string(h[0]) != string(shown) {
			// What is shown now was announced before.
			if string(h[0]) != string(announced[1]) {
				t.Fatalf("at %s an unannounced certificate is shown", now)
			}
			shown = h[0]
		}
		announced = h
	}
	again, err := openCertificates(dir, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.hashes(), again.hashes()); d != "" {
		t.Errorf("after a restart: %s", d)
	}
	info, err := os.Stat(filepath.Join(dir, certFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	now = now.Add(60 * 24 * time.Hour) // a long pause
	if again, err = openCertificates(dir, func() time.Time { return now }); err != nil {
		t.Fatal(err)
	}
	if k, _ := again.current(nil); now.Before(k.Leaf.NotBefore) || now.After(k.Leaf.NotAfter) {
		t.Error("shows one that has run out")
	}
	if err := os.WriteFile(filepath.Join(dir, certFile), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openCertificates(dir, func() time.Time { return now }); err != nil {
		t.Errorf("damaged file: %v", err)
	}
}

func TestConfig_Defaults(t *testing.T) {
	var c Config
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	c.RegisterFlags("quic", fs)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := fs.Parse([]string{"-quic.listen=:4433", "-quic.origins=https://a.example, http://b.example:80"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"a.example", "https://a.example/path", "ftp://a", "https://"} {
		c.Origins = bad
		if c.Validate() == nil {
			t.Errorf("origin %q passed", bad)
		}
	}
}
