package main

import (
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/segue-music/segue/test/built"
	"github.com/segue-music/segue/test/seed"
)

// world is the server under test with its data.
type world struct {
	o     *options
	dir   string
	segue *built.Segue
	sound []seed.Track
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// start starts segue. Its limits per address are those for a thousand addresses: here all
// listeners come from one.
func (w *world) start(ctx context.Context) (err error) {
	args := []string{
		"-quic.max-conns-per-ip=20000", "-http.max-conns-per-ip=16384", "-user.login-per-ip=100000",
		"-http.rate.login-per-ip=100000+100000", "-http.rate.page-per-ip=100000+100000", "-http.rate.rpc-per-ip=100000+100000",
		"-http.rate.events-per-ip=100000+100000",
	}
	w.segue, err = built.Start(ctx, w.o.bin, w.dir, append(args, strings.Fields(w.o.flags)...)...)
	return err
}

func (w *world) stop() {
	if w.segue != nil {
		w.segue.Stop()
	}
}

// explain adds the end of the log of segue to an error.
func (w *world) explain(err error) error {
	if w.segue == nil {
		return err
	}
	return w.segue.Explain(err)
}

// fill makes catalogue and accounts.
func (w *world) fill(ctx context.Context) error {
	r, err := seed.Catalogue(ctx, seed.Options{
		RPC: w.segue.RPC, Secrets: w.file("data-secrets"), Data: w.file("data"), Tracks: w.o.tracks, WithSound: w.o.sound,
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
		Segue: w.segue.HTTP, CA: w.file("data-secrets/tls-ca.pem"), Phrase: built.Password, Accounts: w.o.accounts, AccountsFile: w.file("accounts.json"),
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.segue.Ops+path, nil)
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
