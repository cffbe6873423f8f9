package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/segue-music/segue/test/proc"
)

// spec is what the children are told.
type spec struct {
	Segue        string // URL of the gateway
	CA           string // PEM file of its local CA
	Password     string
	ServerPID    int // of segue
	PeerPID      int
	PeerIP       string
	PeerCert     string // PEM file
	PeerKey      string // PEM file
	Media        string // folder of the peers
	N            int
	Only         string
	Cases        []string // only these, where there are any
	Catalogue    int      // tracks in it
	RPC          string   // URL for the services' own calls
	Music        string   // folder
	Sound        []string // tracks of the catalogue that have sound
	Data         string   // folder of segue
	Tracks       []track
	Device       string
	TrackSeconds int
	RTTMillis    float64
	Web          string
}

// track is one of the tracks, as both sides know it.
type track struct {
	ID    string // of segue
	Peer  int    // folder of the peers
	Album string // all are of one
}

// Ports of the peers. The API of "play API, then media host" is another host.
const (
	mediaPort = 9443
	apiPort   = 9444
	echoPort  = 9007
)

// world is everything that runs.
type world struct {
	o     *options
	dir   string
	link  *link
	spec  spec
	procs []*exec.Cmd
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// close ends the servers in the reverse order, then the link.
func (w *world) close() {
	for i := len(w.procs) - 1; i >= 0; i-- {
		p := w.procs[i]
		_ = p.Process.Signal(syscall.SIGTERM) // it may have ended
		hard := time.AfterFunc(10*time.Second, func() { _ = p.Process.Kill() })
		_ = p.Wait() // how it ends matters no more
		hard.Stop()
	}
	if w.link != nil {
		if err := w.link.close(); err != nil {
			say("%v", err)
		}
	}
}

func (w *world) start(log string, cmd *exec.Cmd) error {
	f, err := os.Create(w.file(log))
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	w.procs = append(w.procs, cmd)
	return nil
}

// startServers starts segue and the peers in the server's namespace and waits until the
// music is taken in.
func (w *world) startServers(ctx context.Context) error {
	bin, err := filepath.Abs(filepath.Join(w.o.bin, "segue"))
	if err != nil {
		return fmt.Errorf("find segue: %w", err)
	}
	if _, err := os.Stat(bin); err != nil {
		return fmt.Errorf("find segue: %w: run make build first", err)
	}
	web, err := filepath.Abs(w.o.web)
	if err != nil {
		return fmt.Errorf("find web player: %w", err)
	}
	w.spec = spec{
		CA: w.file("data-secrets/tls-ca.pem"), Password: "the bench is not a secret",
		PeerIP: w.link.serverIP, PeerCert: w.file("peer.pem"), PeerKey: w.file("peer.key"), Media: w.file(peerDir),
		N: w.o.n, Only: w.o.only, Device: w.link.device, TrackSeconds: trackSeconds, Web: web, Data: w.file("data"),
		Catalogue: w.o.catalogue, Music: w.o.music,
	}
	if err := os.WriteFile(w.file("password"), []byte(w.spec.Password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	if err := makeCertificate(w.spec.PeerCert, w.spec.PeerKey, w.link.serverIP); err != nil {
		return err
	}
	say("starting segue")
	err = w.start("segue.log", w.link.in(context.WithoutCancel(ctx), w.link.server, bin,
		"-data="+w.file("data"), "-http.listen="+w.link.serverIP+":8443", "-quic.listen="+w.link.serverIP+":443", "-tls.mode=self",
		"-user.admin-password.file="+w.file("password"), "-ready.file="+w.file("ready"),
		"-upload.watch="+w.file(sourceDir), "-upload.settle=200ms", "-rpc.listen=127.0.0.1:0"))
	if err != nil {
		return err
	}
	var ready struct {
		HTTP, RPC string
		PID       int
	}
	err = proc.Until(ctx, 30*time.Second, func() error {
		b, err := os.ReadFile(w.file("ready"))
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &ready)
	})
	if err != nil {
		return fmt.Errorf("wait for segue: %w", err)
	}
	w.spec.Segue, w.spec.RPC, w.spec.ServerPID = ready.HTTP, ready.RPC, ready.PID
	if err := w.startPeers(ctx); err != nil {
		return err
	}
	say("segue takes in the music")
	if err := w.child(ctx, w.link.client, "prepare", &w.spec.Tracks); err != nil || w.o.catalogue == 0 {
		return err
	}
	say("filling the catalogue")
	return w.child(ctx, w.link.server, "seed", &w.spec.Sound)
}

// startPeers runs this program again as the server of the peers.
func (w *world) startPeers(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	b, err := json.Marshal(w.spec)
	if err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	cmd := w.link.in(context.WithoutCancel(ctx), w.link.server, self, "-role=peers", "-spec="+string(b))
	if err := w.start("peers.log", cmd); err != nil {
		return err
	}
	w.spec.PeerPID = cmd.Process.Pid // ip executes the program in its own place
	return nil
}

// child runs this program again in a namespace and reads what it found.
func (w *world) child(ctx context.Context, ns, role string, to any) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	b, err := json.Marshal(w.spec)
	if err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	return output(w.link.in(ctx, ns, self, "-role="+role, "-spec="+string(b)), to)
}

// output runs a command that prints JSON.
func output(cmd *exec.Cmd, to any) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("run child: %w", err)
	}
	if e := json.Unmarshal(out.Bytes(), to); e != nil && (err == nil || out.Len() > 0) {
		err = errors.Join(err, fmt.Errorf("read what child found: %w", e))
	}
	return err
}

// phase is a group of cases that one child measures.
type phase struct {
	name   string
	before func(context.Context) error
	run    func(context.Context) ([]result, error)
}

func (w *world) phases() []phase {
	window := func(segments int) func(context.Context) error {
		return func(context.Context) error { return w.link.initcwnd(segments) }
	}
	by := func(role string) func(context.Context) ([]result, error) {
		return func(ctx context.Context) ([]result, error) {
			var r []result
			err := w.child(ctx, w.link.client, role, &r)
			return r, err
		}
	}
	all := []phase{{"segue", window(10), by("native")}}
	if w.o.peers {
		all = append(all, phase{"peers", window(10), by("http")})
	}
	if w.o.peers && w.o.tuned && (w.o.only == "" || strings.Contains(w.o.only, "cold")) {
		all = append(all, phase{"peers, initcwnd 40", window(40), func(ctx context.Context) ([]result, error) {
			defer func(only string) { w.spec.Only = only }(w.spec.Only)
			w.spec.Only = cmp.Or(w.o.only, "cold")
			return by("http")(ctx)
		}})
	}
	if w.o.browser && browserThere(w.spec.Web) {
		all = append(all, phase{"browser", window(10), w.browse})
	}
	return all
}

// reshape changes the link, which is silent between two phases.
func (w *world) reshape(to shape) {
	w.link.now.Store(&to)
	w.spec.RTTMillis = float64(to.rtt) / 1e6
	if w.o.matrix {
		say("the link: %s", to)
		w.spec.Cases = matrixCases()
	}
}

// measure runs all phases. What the others find counts also when one fails.
func (w *world) measure(ctx context.Context) (all []result, err error) {
	for _, p := range w.phases() {
		if err := p.before(ctx); err != nil {
			return all, err
		}
		got, e := p.run(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if e != nil {
			err = errors.Join(err, w.explain(fmt.Errorf("%s: %w", p.name, e)))
		}
		for _, r := range got {
			r.Phase, r.Link = p.name, w.link.now.Load().String()
			all = append(all, r)
		}
	}
	return all, err
}

// explain adds the end of the log of segue to an error.
func (w *world) explain(err error) error {
	if text := tail(w.file("segue.log")); text != "" && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w\nthe log of segue ends with:\n%s", err, text)
	}
	return err
}

func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
