package credfile

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPassword(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "secret": "secret", "secret\n": "secret", "secret\r\n": "secret", " se\ncret \n": " se\ncret ", "\n": "",
	} {
		if got, err := Password(written(t, text)); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := Password(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func TestAuthorities(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	cert := server.Certificate()
	good := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	pool, err := Authorities(written(t, "# a remark\n"+good))
	if err != nil || len(pool.Subjects()) != 1 { //nolint:staticcheck // not the system's pool
		t.Errorf("%v, %v", pool, err)
	}
	for _, text := range []string{"", "no PEM", strings.ReplaceAll(good, "CERTIFICATE", "PRIVATE KEY")} {
		path := written(t, text)
		if _, err := Authorities(path); err == nil || !strings.Contains(err.Error(), path+" has no certificate") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if _, err := Authorities(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}
