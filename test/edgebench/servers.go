package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/segue-music/segue/test/built"
	"github.com/segue-music/segue/test/cdn"
	"github.com/segue-music/segue/test/proc"
)

// server is one that is asked.
type server struct {
	name, url string
	trust     *tls.Config
	cpu       func() time.Duration
}

// startSegue runs it as shipped, without the limits of one address: all comes from one here.
func startSegue(ctx context.Context, o options, dir string) (*built.Segue, error) {
	const many = "1000000+1000000"
	return built.Start(ctx, o.bin, dir, "-http.rate.media-per-ip="+many, "-http.rate.media-per-user="+many, "-upload.workers=1")
}

// startNginx runs nginx with deploy/nginx.conf before segue, with everything it keeps kept
// already; plain serves the object as a file, and asks nobody.
func startNginx(ctx context.Context, dir string, s *built.Segue, obj *object, plain bool) (server, func(), error) {
	own, err := os.MkdirTemp(dir, "nginx-")
	if err != nil {
		return server{}, nil, err
	}
	out := server{name: "nginx"}
	change := map[string]string{}
	path := obj.path
	if plain {
		out.name = "nginx, plain file"
		path = "/plain/" + filepath.Base(obj.file)
		change["    location / {\n"] = "    location /plain/ { alias " + filepath.Dir(obj.file) + "/; }\n    location / {\n"
	}
	n, err := cdn.Start(ctx, cdn.Options{Root: ".", Dir: own, Origin: strings.TrimPrefix(s.HTTP, "https://"), Secure: true, Change: change})
	if err != nil {
		return server{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(n.Cert)
	out.url, out.trust = n.URL+path, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	stop := func() { n.Stop() }
	out.cpu = func() time.Duration {
		sum := proc.CPU(n.PID)
		for _, pid := range children(n.PID) {
			sum += proc.CPU(pid)
		}
		return sum
	}
	web := &http.Transport{TLSClientConfig: out.trust.Clone()}
	defer web.CloseIdleConnections()
	err = proc.Until(ctx, 20*time.Second, func() error {
		n, err := fetch(ctx, &http.Client{Transport: web}, out.url, 0, obj.size-1, make([]byte, 64<<10))
		if err == nil && n != obj.size {
			err = fmt.Errorf("%d bytes of %d", n, obj.size)
		}
		return err
	})
	if err != nil {
		stop()
		return server{}, nil, fmt.Errorf("fill nginx: %w", err)
	}
	return out, stop, nil
}

// children are the processes that a process has started: nginx' workers.
func children(pid int) (out []int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}
