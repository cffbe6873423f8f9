package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const password = "correct horse battery staple"

// server is one life of segue.
type server struct {
	cmd     *exec.Cmd
	dir     string
	took    time.Duration // from exec to the ready file
	log     *os.File
	HTTP    string `json:"http"`
	Ops     string `json:"ops"`
	stopped bool
}

// start runs segue on dir/data and waits for its ready file.
func (b *bench) start(ctx context.Context, dir string, args ...string) (*server, error) {
	secret, ready := filepath.Join(dir, "password"), filepath.Join(dir, "ready")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("start segue: %w", err)
	}
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("start segue: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start segue: %w", err)
	}
	s := &server{dir: dir, log: log}
	s.cmd = exec.CommandContext(ctx, b.segue, append([]string{
		"-data=" + filepath.Join(dir, "data"), "-http.listen=127.0.0.1:0", "-quic.listen=127.0.0.1:0",
		"-user.admin-password.file=" + secret, "-ready.file=" + ready,
	}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start segue: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	for {
		text, err := os.ReadFile(ready)
		if err == nil {
			s.took = time.Since(began)
			return s, json.Unmarshal(text, s)
		}
		select {
		case err := <-ended:
			said, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("segue ended: %w: %s", err, said)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// stop ends segue and waits for its end.
func (s *server) stop() error {
	if s.stopped {
		return nil
	}
	s.stopped = true
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop segue: %w", err)
	}
	for range 3000 { // half a minute: the goroutine of start waits for it
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", s.cmd.Process.Pid)); err != nil {
			return s.log.Close()
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // until the condition holds
	}
	return errors.Join(errors.New("segue does not stop"), s.cmd.Process.Kill())
}

// metric is a value of the metrics page, 0 where it is not there yet. name is as it
// stands there, with its labels.
func (s *server) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Ops+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, nil
}
