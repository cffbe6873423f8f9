package main

import (
	"bytes"
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

	"github.com/segue-music/segue/test/proc"
	"github.com/segue-music/segue/test/seed"
)

// world is the server under test with its data.
type world struct {
	o     *options
	dir   string
	ready doors
	segue *exec.Cmd
	sound []seed.Track
}

// doors are what the ready file says.
type doors struct {
	HTTP, QUIC, RPC, Ops string
	PID                  int
}

const adminPassword = "the load is not a secret"

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// start starts segue. Its limits per address are those for a thousand addresses: here all
// listeners come from one.
func (w *world) start(ctx context.Context) error {
	bin, err := filepath.Abs(filepath.Join(w.o.bin, "segue"))
	if err != nil {
		return fmt.Errorf("find segue: %w", err)
	}
	if err := os.WriteFile(w.file("password"), []byte(adminPassword+"\n"), 0o600); err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	if err := os.Remove(w.file("ready")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start segue: %w", err)
	}
	log, err := os.OpenFile(w.file("segue.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	args := []string{
		"-data=" + w.file("data"), "-ready.file=" + w.file("ready"), "-user.admin-password.file=" + w.file("password"),
		"-tls.mode=self", "-http.listen=127.0.0.1:0", "-quic.listen=127.0.0.1:0", "-rpc.listen=127.0.0.1:0", "-ops.listen=127.0.0.1:0",
		"-quic.max-conns-per-ip=20000", "-http.max-conns-per-ip=16384", "-user.login-per-ip=100000",
		"-http.rate.login-per-ip=100000+100000", "-http.rate.page-per-ip=100000+100000", "-http.rate.rpc-per-ip=100000+100000",
		"-http.rate.events-per-ip=100000+100000",
	}
	w.segue = exec.CommandContext(context.WithoutCancel(ctx), bin, append(args, strings.Fields(w.o.flags)...)...)
	w.segue.Stdout, w.segue.Stderr = log, log
	if err := w.segue.Start(); err != nil {
		return fmt.Errorf("start segue: %w: run make build first", err)
	}
	err = proc.Until(ctx, time.Minute, func() error {
		b, err := os.ReadFile(w.file("ready"))
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &w.ready)
	})
	if err != nil {
		return w.explain(fmt.Errorf("wait for segue: %w", err))
	}
	return nil
}

func (w *world) stop() {
	if w.segue == nil {
		return
	}
	_ = w.segue.Process.Signal(syscall.SIGTERM) // it may have ended
	hard := time.AfterFunc(20*time.Second, func() { _ = w.segue.Process.Kill() })
	_ = w.segue.Wait() // how it ends is not what is measured
	hard.Stop()
	w.segue = nil
}

// explain adds the end of the log of segue to an error.
func (w *world) explain(err error) error {
	b, readErr := os.ReadFile(w.file("segue.log"))
	if readErr != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Errorf("%w\nthe log of segue ends with:\n%s", err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
}

// fill makes catalogue and accounts.
func (w *world) fill(ctx context.Context) error {
	r, err := seed.Catalogue(ctx, seed.Options{
		RPC: w.ready.RPC, Secrets: w.file("data-secrets"), Data: w.file("data"), Tracks: w.o.tracks, WithSound: w.o.sound,
		Music: w.o.music, Seed: 1, Say: say,
	})
	if err != nil {
		return err
	}
	w.sound = r.WithSound()
	return nil
}

// spec is what a child is told.
func (w *world) spec(transport string) *spec {
	s := &spec{
		Segue: w.ready.HTTP, CA: w.file("data-secrets/tls-ca.pem"), Phrase: adminPassword, Accounts: w.o.accounts, AccountsFile: w.file("accounts.json"),
		Listeners: w.o.listeners, Transport: transport, Ramp: w.o.ramp, Seek: w.o.seek, Skip: w.o.skip,
	}
	for _, t := range w.sound {
		s.Tracks = append(s.Tracks, t.ID)
		s.Objects = append(s.Objects, filepath.Join(w.file("data"), "blobs", "objects", "objects", t.Objects[160]))
	}
	return s
}

// child starts this program again.
func (w *world) child(ctx context.Context, role string, s *spec) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	path := w.file(role + ".json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, fmt.Errorf("write spec: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "-role="+role, "-spec="+path)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// counters sums the server's metrics by name, over all labels but those in parts.
func (w *world) counters(ctx context.Context) (map[string]float64, error) {
	b, err := w.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.SplitSeq(string(b), "\n") {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			v, err := strconv.ParseFloat(line[i+1:], 64)
			if err != nil {
				continue
			}
			out[line[:i]] += v
			if name, _, ok := strings.Cut(line[:i], "{"); ok {
				out[name] += v
			}
		}
	}
	return out, nil
}

func (w *world) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.ready.Ops+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask segue: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask segue: %w", err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, res.Body); err != nil {
		return nil, fmt.Errorf("ask segue: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask segue for %s: %s", path, res.Status)
	}
	return b.Bytes(), nil
}
