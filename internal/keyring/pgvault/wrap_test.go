package pgvault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func wrapFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wrap")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, lines ...string) *Wrap {
	t.Helper()
	w, err := ReadWrap(wrapFile(t, strings.Join(lines, "\n")+"\n", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWrap(t *testing.T) {
	a, b := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	old, both, other := read(t, a), read(t, b, a), read(t, b)
	sealed, err := old.Seal([]byte("secret"), "x")
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]*Wrap{"the same": old, "a newer one beside it": both} {
		if got, err := w.Open(sealed, "x"); err != nil || string(got) != "secret" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := other.Open(sealed, "x"); !errors.Is(err, ErrWrap) {
		t.Errorf("another key: %v", err)
	}
	if _, err := old.Open(sealed, "y"); !errors.Is(err, ErrWrap) {
		t.Errorf("another name: %v", err)
	}
	for i := range sealed {
		torn := append([]byte(nil), sealed...)
		torn[i] ^= 1
		if _, err := old.Open(torn, "x"); !errors.Is(err, ErrWrap) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		if _, err := old.Open(sealed[:i], "x"); !errors.Is(err, ErrWrap) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	again, err := old.Seal([]byte("secret"), "x")
	if err != nil || string(again) == string(sealed) {
		t.Errorf("sealed twice it is the same: %v", err)
	}
}

func TestReadWrap_Refused(t *testing.T) {
	good := strings.Repeat("a1", 32)
	for name, path := range map[string]string{
		"open_to_all": wrapFile(t, good, 0o644), "empty": wrapFile(t, "\n", 0o600), "short": wrapFile(t, good[2:], 0o600),
		"no_hex": wrapFile(t, "z"+good[1:], 0o600), "missing": filepath.Join(t.TempDir(), "none"), "second_line": wrapFile(t, good+"\nx\n", 0o600),
	} {
		if _, err := ReadWrap(path); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
