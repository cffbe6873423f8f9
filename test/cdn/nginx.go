// Package cdn runs the real nginx with deploy/nginx.conf, for what tries it and for what
// measures beside it.
package cdn

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Nginx is a running one.
type Nginx struct {
	// URL is where it serves, by TLS; Cert vouches for it.
	URL  string
	Cert *x509.Certificate
	// PID is that of the master process.
	PID int
	dir string
	cmd *exec.Cmd
	out bytes.Buffer
}

// Options of an nginx.
type Options struct {
	// Root is the repository, Dir an empty folder of this nginx, Origin host:port of Segue's
	// public door.
	Root, Dir, Origin string
	// Secure says that the origin speaks TLS.
	Secure bool
	// Change is what else to replace in the settings.
	Change map[string]string
}

// Start runs the program that scripts/nginx.sh finds. It changes the lines of
// deploy/nginx.conf that are a place's own, and no others.
func Start(ctx context.Context, o Options) (*Nginx, error) {
	found, err := exec.CommandContext(ctx, filepath.Join(o.Root, "scripts/nginx.sh")).Output()
	if err != nil {
		return nil, fmt.Errorf("find nginx: %w", err)
	}
	n := &Nginx{dir: o.Dir}
	if n.Cert, err = writeCertificate(o.Dir); err != nil {
		return nil, fmt.Errorf("make a certificate for nginx: %w", err)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port for nginx: %w", err)
	}
	at := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return nil, err
	}
	n.URL = "https://" + at
	conf, err := settings(o, at)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(o.Dir, "conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	n.cmd = exec.CommandContext(context.WithoutCancel(ctx), strings.TrimSpace(string(found)), "-p", o.Dir, "-c", path, "-e", filepath.Join(o.Dir, "error.log"))
	n.cmd.Stdout, n.cmd.Stderr = &n.out, &n.out
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	n.PID = n.cmd.Process.Pid
	return n, nil
}

// AccessLog is the path of its log.
func (n *Nginx) AccessLog() string { return filepath.Join(n.dir, "access.log") }

// Stop ends it and returns what it had to say of errors.
func (n *Nginx) Stop() string {
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = n.cmd.Wait()                          // how it ends is no matter
	log, err := os.ReadFile(filepath.Join(n.dir, "error.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return n.out.String() + string(log)
}

func settings(o Options, listen string) (string, error) {
	b, err := os.ReadFile(filepath.Join(o.Root, "deploy/nginx.conf"))
	if err != nil {
		return "", err
	}
	conf := string(b)
	temporary := ""
	for _, t := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("  %s_temp_path %s/%s;\n", t, o.Dir, t)
	}
	change := map[string]string{
		"pid /run/nginx-segue.pid;":            "pid " + o.Dir + "/pid; daemon off;",
		"/var/log/nginx/":                      o.Dir + "/",
		"server 127.0.0.1:8420;":               "server " + o.Origin + ";",
		"/var/cache/nginx/":                    o.Dir + "/",
		"listen 443 ssl http2;":                "listen " + listen + " ssl http2;",
		"    listen [::]:443 ssl http2; # own": "",
		"/etc/nginx/segue":                     o.Dir + "/segue",
		"  server_tokens off;\n":               temporary + "  server_tokens off;\n",
	}
	if o.Secure {
		change["http://origin"] = "https://origin"
	}
	for from, to := range o.Change {
		change[from] = to
	}
	for from, to := range change {
		if !strings.Contains(conf, from) {
			return "", fmt.Errorf("deploy/nginx.conf has no %q", from)
		}
		conf = strings.ReplaceAll(conf, from, to)
	}
	if os.Geteuid() == 0 {
		conf = "user root;\n" + conf // the folder is this user's alone
	}
	return conf, nil
}

// writeCertificate makes one for 127.0.0.1 that vouches for itself.
func writeCertificate(dir string) (*x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	for name, block := range map[string]*pem.Block{"segue.pem": {Type: "CERTIFICATE", Bytes: der}, "segue.key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	return x509.ParseCertificate(der)
}
