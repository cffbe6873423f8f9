package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/segue-music/segue/test/cdn"
	"github.com/segue-music/segue/test/person"
	"github.com/segue-music/segue/test/proc"
)

const adminPassword = "the edge is no secret" //nolint:gosec // of a server that lives for a minute

// server is one that is asked.
type server struct {
	name, url string
	trust     *tls.Config
	cpu       func() time.Duration
}

// segue is the built program.
type segue struct {
	url, rpc, ops, data string
	pid                 int
	trust               *tls.Config
	cmd                 *exec.Cmd
}

// startSegue runs it as shipped, by TLS, without the limits of one address: all comes from
// one here.
func startSegue(ctx context.Context, o options, dir string) (*segue, error) {
	bin, err := filepath.Abs(filepath.Join(o.bin, "segue"))
	if err != nil {
		return nil, err
	}
	s := &segue{data: filepath.Join(dir, "data")}
	password, ready := filepath.Join(dir, "password"), filepath.Join(dir, "ready")
	if err := os.WriteFile(password, []byte(adminPassword+"\n"), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "segue.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // it has its own
	const many = "1000000+1000000"
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), bin, "-data="+s.data, "-ready.file="+ready, "-user.admin-password.file="+password,
		"-tls.mode=self", "-http.listen=127.0.0.1:0", "-quic.listen=127.0.0.1:0", "-rpc.listen=127.0.0.1:0", "-ops.listen=127.0.0.1:0",
		"-http.rate.media-per-ip="+many, "-http.rate.media-per-user="+many, "-upload.workers=1")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start segue: %w: run make build first", err)
	}
	s.pid = s.cmd.Process.Pid
	var doors struct{ HTTP, RPC, Ops string }
	err = proc.Until(ctx, time.Minute, func() error {
		b, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &doors)
	})
	if err == nil {
		s.trust, err = person.Trusting(s.data + "-secrets/tls-ca.pem")
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("wait for segue: %w", err)
	}
	s.url, s.rpc, s.ops = doors.HTTP, doors.RPC, doors.Ops
	return s, nil
}

func (s *segue) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = s.cmd.Wait()                          // how it ends is not what is measured
}

// startNginx runs nginx with deploy/nginx.conf before segue, with everything it keeps kept
// already; plain serves the object as a file, and asks nobody.
func startNginx(ctx context.Context, dir string, s *segue, obj *object, plain bool) (server, func(), error) {
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
	n, err := cdn.Start(ctx, cdn.Options{Root: ".", Dir: own, Origin: strings.TrimPrefix(s.url, "https://"), Secure: true, Change: change})
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
