//go:build system

package system

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ran is how a segue that was started with flags to end at once has ended.
type ran struct {
	code     int
	out, err string
}

func runSegue(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, diag bytes.Buffer
	cmd := exec.CommandContext(ctx, program(t, "segue"), args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(cmd.Dir); len(left) > 0 {
		t.Errorf("segue %v left %v", args, left)
	}
	return ran{cmd.ProcessState.ExitCode(), out.String(), diag.String()}
}

// TestProgram_Settings: one name in three spellings, and a misspelt one is an error.
func TestProgram_Settings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "segue.yaml")
	write := func(s string) string {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		return "-config.file=" + file
	}
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		says string
	}{
		"version":           {nil, []string{"-version"}, 0, "segue "},
		"check":             {nil, []string{"-config.check"}, 0, "settings are fine"},
		"unknown_flag":      {nil, []string{"-upload.wach=x"}, 2, "upload.wach"},
		"unknown_variable":  {[]string{"SEGUE_UPLOAD_WACH=x"}, []string{"-config.check"}, 2, "SEGUE_UPLOAD_WACH"},
		"unknown_key":       {nil, []string{"-config.check", write("upload: {wach: x}\n")}, 2, "upload.wach"},
		"argument":          {nil, []string{"start"}, 2, `"start"`},
		"unknown_target":    {nil, []string{"-config.check", "-target=gateway,radio"}, 2, `"radio"`},
		"malformed_number":  {nil, []string{"-config.check", "-upload.workers=many"}, 2, "upload.workers"},
		"malformed_public":  {nil, []string{"-config.check", "-public-url=music.example.org"}, 2, "public-url"},
		"impossible_number": {nil, []string{"-config.check", "-upload.workers=0"}, 2, "upload.workers"},
		"impossible_market": {nil, []string{"-config.check", "-user.market=usa"}, 2, "market"},
		"impossible_rate":   {nil, []string{"-config.check", "-http.rate.rpc-per-ip=0+0"}, 2, "rate"},
		"impossible_drain":  {nil, []string{"-config.check", "-quic.drain-timeout=-1s"}, 2, "drain-timeout"},
		"tls_mode":          {nil, []string{"-config.check", "-tls.mode=none"}, 2, "mode"},
		"log_level":         {nil, []string{"-config.check", "-obs.log-level=loud"}, 2, "log level"},
		"bucket":            {nil, []string{"-config.check", "-blob.url=ftp://x"}, 2, "blob.url"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "unknown_key" {
				write("upload: {wach: x}\n")
			}
			r := runSegue(t, c.env, c.args...)
			if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
				t.Errorf("exit %d with %q %q, want %d and %q", r.code, r.out, r.err, c.code, c.says)
			}
		})
	}
	t.Run("round_trip", func(t *testing.T) {
		first := runSegue(t, []string{"SEGUE_USER_MARKET=DE", "SEGUE_UPLOAD_WORKERS=7"},
			"-config.print", "-upload.workers=3", "-public-url=https://music.example.org", "-http.rate.rpc-per-ip=7.5+9")
		if first.code != 0 || !strings.Contains(first.out, "workers: \"3\"") {
			t.Fatalf("exit %d\n%s%s", first.code, first.out, first.err)
		}
		second := runSegue(t, nil, "-config.print", write(first.out))
		if diff := cmp.Diff(first.out, second.out); diff != "" || second.code != 0 {
			t.Errorf("exit %d %s: %s", second.code, second.err, diff)
		}
		if strings.Contains(first.out, `"":`) {
			t.Error("a setting has no name")
		}
	})
}

// TestTLS_LocalCA serves a LAN: https by a CA of its own, with a page that tells how to
// trust it, and a plain port that leads there.
func TestTLS_LocalCA(t *testing.T) {
	ports := freePorts(t, 2)
	door := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	d := single(t, "-tls.mode=self", "-tls.http-listen="+door, "-http.listen="+net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1])))
	if !strings.HasPrefix(d.URL, "https://") {
		t.Fatalf("served at %s", d.URL)
	}
	if _, err := http.Get(d.URL + "/readyz"); err == nil {
		t.Error("a stranger trusts the certificate")
	}
	unchecked := httpClient(&tls.Config{InsecureSkipVerify: true}) // whoever has not the CA yet
	status, page := fetch(t, unchecked, d.URL+"/trust")
	if status != 200 || !strings.Contains(page, "/trust/ca.crt") {
		t.Errorf("trust page: status %d", status)
	}
	status, der := fetch(t, unchecked, d.URL+"/trust/ca.crt")
	ca, err := x509.ParseCertificate([]byte(der))
	if status != 200 || err != nil {
		t.Fatalf("ca.crt: status %d, %v", status, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	trusting := httpClient(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	for _, host := range []string{"127.0.0.1", "localhost"} {
		at := strings.Replace(d.URL, "127.0.0.1", host, 1)
		if status, _ := fetch(t, trusting, at+"/readyz"); status != 200 {
			t.Errorf("%s: status %d", at, status)
		}
	}
	if status, text := fetch(t, trusting, d.URL+"/.well-known/openid-configuration"); status != 200 || !strings.Contains(text, `"issuer":"`+d.URL+`"`) {
		t.Errorf("discovery: status %d, %s", status, text)
	}
	res, err := unchecked.Get("http://" + door + "/albums?x=1")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(d.URL, "https://"))
	if want := "https://127.0.0.1:" + port + "/albums?x=1"; res.StatusCode != http.StatusTemporaryRedirect || res.Header.Get("Location") != want {
		t.Errorf("the plain port answers %s to %q, want %q", res.Status, res.Header.Get("Location"), want)
	}
	if status, _ := fetch(t, unchecked, "http://"+door+"/trust/ca.crt"); status != 200 {
		t.Errorf("ca.crt at the plain port: status %d", status)
	}
	// seguectl trusts it where it is told to.
	if err := os.WriteFile(d.file("ca.crt"), []byte(der), 0o600); err != nil {
		t.Fatal(err)
	}
	_, pem := fetch(t, unchecked, d.URL+"/trust/ca.pem")
	if err := os.WriteFile(d.file("ca.pem"), []byte(pem), 0o600); err != nil {
		t.Fatal(err)
	}
	login := []string{"login", "--server", d.URL, "--user", "admin", "--password-stdin"}
	if _, _, err := d.ctl(adminPassword, login...); err == nil {
		t.Error("seguectl signs in at a server that it has no reason to trust")
	}
	if out, diag, err := d.ctl(adminPassword, append(login, "--ca", d.file("ca.pem"))...); err != nil {
		t.Errorf("seguectl with the CA: %v %s%s", err, out, diag)
	}
	d.must("tracks", "--json")
	quietLog(d)
}

func httpClient(conf *tls.Config) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func fetch(t *testing.T, c *http.Client, at string) (int, string) {
	t.Helper()
	res, err := c.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}
