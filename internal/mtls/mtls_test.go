package mtls_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/mtls"
	"github.com/segue-music/segue/internal/mtls/mtlstest"
)

func open(t *testing.T, ca *mtlstest.Authority, targets ...string) *mtls.Identity {
	t.Helper()
	i, err := mtls.Open(ca.Issue(t, t.TempDir(), targets...), targets, time.Now, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestCalls: who may reach whom, and as whom.
func TestCalls(t *testing.T) {
	ca, other := mtlstest.NewAuthority(t), mtlstest.NewAuthority(t)
	playback := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Join(mtls.Targets(r.TLS), ","))
	}))
	playback.TLS = open(t, ca, "playback").Server()
	playback.StartTLS()
	defer playback.Close()
	plain := open(t, ca, "edge").Client("playback")
	plain.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	for name, c := range map[string]struct {
		conf *tls.Config
		want string // "" is refused
	}{
		"edge":                     {open(t, ca, "edge").Client("playback"), "edge"},
		"two_targets":              {open(t, ca, "edge", "gateway").Client("playback"), "edge,gateway"},
		"no_certificate":           {plain, ""},
		"of_another_authority":     {open(t, other, "edge").Client("playback"), ""},
		"server_is_somebody_else":  {open(t, ca, "edge").Client("user"), ""},
		"of_another_both_ways":     {open(t, other, "playback").Client("playback"), ""},
		"server_of_the_right_name": {open(t, ca, "user").Client("playback"), "user"},
	} {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.conf}}
			defer client.CloseIdleConnections()
			res, err := client.Get(playback.URL)
			if (err == nil) != (c.want != "") {
				t.Fatalf("err %v, want %q", err, c.want)
			}
			if err != nil {
				return
			}
			b, err := io.ReadAll(res.Body)
			if got := string(b); err != nil || got != c.want {
				t.Errorf("called as %q, want %q: %v", got, c.want, err)
			}
			_ = res.Body.Close()
		})
	}
	if got := mtls.Targets(nil); got != nil {
		t.Errorf("without TLS: %v", got)
	}
	if got := mtls.Targets(&tls.ConnectionState{}); got != nil {
		t.Errorf("without a certificate: %v", got)
	}
}

func TestOpen_Refused(t *testing.T) {
	ca, other := mtlstest.NewAuthority(t), mtlstest.NewAuthority(t)
	good := ca.Issue(t, t.TempDir(), "edge")
	mixed := good
	mixed.CA = other.Issue(t, t.TempDir(), "edge").CA
	missing := good
	missing.Key = filepath.Join(t.TempDir(), "none")
	empty := good
	empty.CA = filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty.CA, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files  mtls.Files
		at     time.Time
		target string
	}{
		"another_authority": {mixed, time.Now(), "edge"},
		"no_key":            {missing, time.Now(), "edge"},
		"empty_authority":   {empty, time.Now(), "edge"},
		"ended":             {good, time.Now().Add(mtlstest.Life + time.Hour), "edge"},
		"another_target":    {good, time.Now(), "playback"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := mtls.Open(c.files, []string{c.target}, func() time.Time { return c.at }, nil); err == nil {
				t.Error("taken")
			}
		})
	}
	if err := (mtls.Files{Cert: "x"}).Check(); err == nil {
		t.Error("a third of the files is taken")
	}
	if err := errors.Join(mtls.Files{}.Check(), good.Check()); err != nil {
		t.Error(err)
	}
}

// TestRenewal: new files are shown without a restart, and bad ones leave the old in use.
func TestRenewal(t *testing.T) {
	ca := mtlstest.NewAuthority(t)
	dir := t.TempDir()
	now := time.Now()
	var told []error
	i, err := mtls.Open(ca.Issue(t, dir, "user"), []string{"user"}, func() time.Time { return now }, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		c, err := i.Server().GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	first := serial()
	ca.Issue(t, dir, "user")
	if got := serial(); got != first {
		t.Errorf("the files are read for each connection")
	}
	now = now.Add(2 * time.Minute)
	second := serial()
	if second == first {
		t.Error("a renewed certificate is not shown")
	}
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Minute)
	if got := serial(); got != second || len(told) != 1 {
		t.Errorf("after a torn file: %s, want %s; told %v", got, second, told)
	}
	if !slices.ContainsFunc(told, func(err error) bool { return err != nil }) {
		t.Error("nobody is told")
	}
}
