// Package built runs the built segue for a measurement.
package built

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/segue-music/segue/test/person"
	"github.com/segue-music/segue/test/proc"
)

// Password is that of admin, on a server that lives for minutes.
const Password = "measured and not a secret"

// Segue is a running server.
type Segue struct {
	HTTP, QUIC, RPC, Ops string // its doors, as the ready file has them
	PID                  int
	// Data is its data folder; its secrets are beside it.
	Data string
	// Trust is what a client needs to believe its certificate.
	Trust *tls.Config

	cmd  *exec.Cmd
	log  string
	once sync.Once // ends it
}

// Start runs the segue of folder bin in dir, by TLS on loopback, with more arguments, and
// returns when it serves.
func Start(ctx context.Context, bin, dir string, more ...string) (*Segue, error) {
	program, err := filepath.Abs(filepath.Join(bin, "segue"))
	if err != nil {
		return nil, fmt.Errorf("find segue: %w", err)
	}
	s := &Segue{Data: filepath.Join(dir, "data"), log: filepath.Join(dir, "segue.log")}
	password, ready := filepath.Join(dir, "password"), filepath.Join(dir, "ready")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write password: %w", err)
	}
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("start segue: %w", err)
	}
	log, err := os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer log.Close() // the server has its own
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, append([]string{
		"-data=" + s.Data, "-ready.file=" + ready, "-user.admin-password.file=" + password,
		"-tls.mode=self", "-http.listen=127.0.0.1:0", "-quic.listen=127.0.0.1:0", "-rpc.listen=127.0.0.1:0", "-ops.listen=127.0.0.1:0",
	}, more...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start segue: %w: run make build first", err)
	}
	err = proc.Until(ctx, time.Minute, func() error {
		b, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, s)
	})
	if err == nil {
		s.Trust, err = person.Trusting(s.Data + "-secrets/tls-ca.pem")
	}
	if err != nil {
		s.Stop()
		return nil, s.Explain(fmt.Errorf("wait for segue: %w", err))
	}
	return s, nil
}

// Stop ends it. What it was is still told.
func (s *Segue) Stop() { s.once.Do(s.stop) }

func (s *Segue) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	hard := time.AfterFunc(20*time.Second, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait() // how it ends is not what is measured
	hard.Stop()
}

// Profile writes a CPU profile of the next so long to a file; wait waits for it.
func (s *Segue) Profile(ctx context.Context, file string, length time.Duration) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- s.profile(ctx, file, length) }()
	return func() error { return <-done }
}

func (s *Segue) profile(ctx context.Context, file string, length time.Duration) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.Ops, max(1, int(length.Seconds()))), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, res.Body)
	return errors.Join(err, out.Close())
}

// Explain adds the end of its log to an error.
func (s *Segue) Explain(err error) error {
	b, readErr := os.ReadFile(s.log)
	if readErr != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Errorf("%w\nthe log of segue ends with:\n%s", err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
}
