package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/segue-music/segue/test/proc"
)

// result is what one transport came to.
type result struct {
	name              string
	listeners         int
	idle, from, to    proc.Usage // of the server: before anyone came, and both ends of the window
	clientsA, clients proc.Usage
	before, after     *counts
	serverA, server   map[string]float64
}

func measure(ctx context.Context, o *options) error {
	if o.transport != "quic" && o.transport != "webtransport" && o.transport != "both" {
		return fmt.Errorf("there is no transport %q", o.transport)
	}
	if o.accounts == 0 {
		o.accounts = (o.listeners + 9) / 10
	}
	if o.ramp == 0 {
		o.ramp = max(10*time.Second, time.Duration(o.listeners)*30*time.Millisecond)
	}
	dir := o.keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "segue-load-"); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	before := proc.Machine()
	w := &world{o: o, dir: dir}
	defer w.stop()
	say("filling segue with %d tracks, %d of them with sound", o.tracks, o.sound)
	if err := w.start(ctx); err != nil {
		return err
	}
	if err := w.fill(ctx); err != nil {
		return w.explain(err)
	}
	say("signing in to %d accounts", o.accounts)
	accounts, err := w.child(ctx, "accounts", w.spec(""))
	if err != nil {
		return err
	}
	if err := accounts.Run(); err != nil {
		return w.explain(fmt.Errorf("make accounts: %w", err))
	}
	w.stop()

	var results []*result
	transports := []string{o.transport}
	if o.transport == "both" {
		transports = []string{"quic", "webtransport"}
	}
	for _, transport := range transports {
		r, err := w.listening(ctx, transport)
		if err != nil {
			return w.explain(err)
		}
		results = append(results, r)
	}
	if o.peer {
		r, err := w.peer(ctx)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	report(os.Stdout, o, before, proc.Machine(), results)
	return verdict(results)
}

// listening measures one transport on a server that was just started.
func (w *world) listening(ctx context.Context, transport string) (*result, error) {
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	defer w.stop()
	pid := w.segue.PID
	r := &result{name: "segue over " + transport, listeners: w.o.listeners}
	pause(ctx, 5*time.Second) // what a start has to do is done
	r.idle = proc.Look(pid)
	say("%d listeners join over %s within %s", w.o.listeners, transport, w.o.ramp)
	cmd, err := w.child(ctx, "listeners", w.spec(transport))
	if err != nil {
		return nil, err
	}
	t, err := startTalker(cmd)
	if err != nil {
		return nil, err
	}
	defer t.end()
	err = proc.Until(ctx, w.o.ramp+2*time.Minute, func() error {
		c, err := t.ask()
		if err != nil {
			return err
		}
		if int(c.Joined) < w.o.listeners {
			return fmt.Errorf("%d of %d have joined: %v", c.Joined, w.o.listeners, c.Errors)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listeners join: %w", err)
	}
	pause(ctx, time.Duration(w.o.settle*float64(time.Minute)))
	if r.before, err = t.ask(); err != nil {
		return nil, err
	}
	if r.serverA, err = w.counters(ctx); err != nil {
		return nil, err
	}
	window := time.Duration(w.o.minutes * float64(time.Minute))
	say("measuring for %s", window)
	r.clientsA, r.from = proc.Look(cmd.Process.Pid), proc.Look(pid)
	profiled := make(chan error, 1)
	go func() { profiled <- w.takeProfile(ctx, window) }()
	if !sleep(ctx, window) {
		return nil, context.Cause(ctx)
	}
	r.to, r.clients = proc.Look(pid), proc.Look(cmd.Process.Pid)
	if r.after, err = t.ask(); err != nil {
		return nil, err
	}
	if r.server, err = w.counters(ctx); err != nil {
		return nil, err
	}
	return r, <-profiled
}

// profileMost is the longest profile, in seconds, that segue takes.
const profileMost = 60

// takeProfile asks segue for a profile of most of the window.
func (w *world) takeProfile(ctx context.Context, window time.Duration) error {
	if w.o.profile == "" {
		return nil
	}
	b, err := w.get(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", min(max(1, int(window.Seconds()*0.9)), profileMost)))
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.o.profile, b, 0o600); err != nil {
		return fmt.Errorf("keep profile: %w", err)
	}
	for _, kind := range []string{"heap", "goroutine"} {
		if b, err = w.get(ctx, "/debug/pprof/"+kind); err != nil {
			return err
		}
		if err := os.WriteFile(w.o.profile+"."+kind, b, 0o600); err != nil {
			return fmt.Errorf("keep profile: %w", err)
		}
	}
	return nil
}

// peer measures the plain server with the same files.
func (w *world) peer(ctx context.Context) (*result, error) {
	s := w.spec("")
	server, err := w.child(ctx, "peer", s)
	if err != nil {
		return nil, err
	}
	serving, err := startTalker(server)
	if err != nil {
		return nil, err
	}
	defer serving.end()
	if s.PeerAddr, err = serving.line(); err != nil {
		return nil, err
	}
	r := &result{name: "net/http, HTTP/1.1 over TLS: only the bytes", listeners: w.o.listeners}
	pause(ctx, time.Second)
	r.idle = proc.Look(server.Process.Pid)
	say("%d listeners join the peer", w.o.listeners)
	clients, err := w.child(ctx, "peer-clients", s)
	if err != nil {
		return nil, err
	}
	t, err := startTalker(clients)
	if err != nil {
		return nil, err
	}
	defer t.end()
	pause(ctx, 15*time.Second)
	if r.before, err = t.ask(); err != nil {
		return nil, err
	}
	r.clientsA, r.from = proc.Look(clients.Process.Pid), proc.Look(server.Process.Pid)
	if !sleep(ctx, time.Duration(w.o.peerSeconds*float64(time.Second))) {
		return nil, context.Cause(ctx)
	}
	r.to, r.clients = proc.Look(server.Process.Pid), proc.Look(clients.Process.Pid)
	r.after, err = t.ask()
	return r, err
}

// talker is a child that answers each line with one of its own.
type talker struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
}

func startTalker(cmd *exec.Cmd) (*talker, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	return &talker{cmd, in, bufio.NewReaderSize(out, 1<<20)}, nil
}

func (t *talker) line() (string, error) {
	s, err := t.lines.ReadString('\n')
	if err != nil {
		return "", errors.Join(fmt.Errorf("read what child says: %w", err), t.cmd.Wait())
	}
	return s[:len(s)-1], nil
}

func (t *talker) ask() (*counts, error) {
	if _, err := io.WriteString(t.in, "count\n"); err != nil {
		return nil, fmt.Errorf("ask child: %w", err)
	}
	s, err := t.line()
	if err != nil {
		return nil, err
	}
	c := &counts{}
	if err := json.Unmarshal([]byte(s), c); err != nil {
		return nil, fmt.Errorf("read what child counted: %w", err)
	}
	return c, nil
}

func (t *talker) end() {
	_ = t.in.Close() // it ends by that
	hard := time.AfterFunc(20*time.Second, func() { _ = t.cmd.Process.Kill() })
	_, _ = io.Copy(io.Discard, t.lines)
	_ = t.cmd.Wait() // how it ends is not what is measured
	hard.Stop()
}
