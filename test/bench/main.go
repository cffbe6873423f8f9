// Command bench measures how long Segue takes from the wish to the sound: start, seek and
// next track, on a link with a delay and a rate, beside HTTP and HLS on the same link in
// the same run.
//
// It makes two network namespaces joined by a link of its own (two TUN devices, so that no
// traffic shaper of the kernel is needed), starts the built segue in one of them with
// music, and a server for the peers beside it. The clients run in the other namespace. What
// it prints is Markdown. It needs root and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/segue-music/segue/test/proc"
)

// options are what can be asked for.
type options struct {
	role, spec   string // of a child
	bin, web     string
	music        string
	n, tracks    int
	catalogue    int
	choices      int
	shape        shape
	matrix       bool
	peers, tuned bool
	browser      bool
	only         string
	keepLog      bool
}

func (o *options) register(fs *flag.FlagSet) {
	fs.StringVar(&o.role, "role", "", "what a child does; empty for people")
	fs.StringVar(&o.spec, "spec", "", "what a child is told; empty for people")
	fs.StringVar(&o.bin, "bin", "bin", "folder of the built segue")
	fs.StringVar(&o.web, "web", "web", "folder of the web player, for its playwright-core")
	fs.StringVar(&o.music, "music", "", "folder of music to cut the tracks from; empty makes loud test tracks")
	fs.IntVar(&o.n, "n", 20, "starts per case")
	fs.IntVar(&o.tracks, "tracks", 8, "tracks, of which each start takes one at random")
	fs.IntVar(&o.catalogue, "catalogue", 20_000, "tracks in the catalogue, most of them without sound")
	fs.IntVar(&o.choices, "choices", 0, "scripted choices in the browser, to see how often a head was fetched in time")
	fs.DurationVar(&o.shape.rtt, "rtt", 50*time.Millisecond, "round-trip time of the link")
	fs.DurationVar(&o.shape.queue, "queue", 200*time.Millisecond, "what the link's queue holds before it drops")
	fs.Float64Var(&o.shape.rate, "rate", fullRate, "Mbit/s each way")
	fs.Float64Var(&o.shape.loss, "loss", 0, "share of packets lost each way, 0 to 1")
	fs.BoolVar(&o.matrix, "matrix", false, "measure the main cases on links of 20, 50 and 100 ms, with and without loss, and a slow one")
	fs.BoolVar(&o.peers, "peers", true, "measure HTTP and HLS too")
	fs.BoolVar(&o.tuned, "tuned", true, "measure the cold peers again with initcwnd 40")
	fs.BoolVar(&o.browser, "browser", true, "measure the web player in Chromium, where there is one")
	fs.StringVar(&o.only, "only", "", "measure only the cases whose name contains this")
	fs.BoolVar(&o.keepLog, "log", false, "print the log of segue at the end")
}

func main() {
	var o options
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	o.register(fs)
	_ = fs.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, &o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	switch o.role {
	case "":
		return bench(ctx, o)
	case "peers":
		return servePeers(ctx, o.spec)
	case "prepare", "seed", "native", "http":
		return child(ctx, o.role, o.spec)
	default:
		return fmt.Errorf("there is no role %q", o.role)
	}
}

// bench runs everything. What it makes is taken away in the reverse order, however it ends.
func bench(ctx context.Context, o *options) (err error) {
	if os.Geteuid() != 0 {
		return fmt.Errorf("namespaces and TUN devices need root")
	}
	dir, err := os.MkdirTemp("", "segue-bench-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w := &world{o: o, dir: dir}
	defer w.close()
	if w.link, err = openLink(o); err != nil {
		return err
	}
	say("making %d tracks", o.tracks)
	if err := makeMusic(ctx, o, dir); err != nil {
		return err
	}
	if err := w.startServers(ctx); err != nil {
		return w.explain(err)
	}
	before := proc.Load()
	var results []result
	for _, l := range o.links() {
		w.reshape(l)
		got, e := w.measure(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = errors.Join(err, e)
		results = append(results, got...)
	}
	if o.matrix {
		reportMatrix(os.Stdout, o, before, proc.Load(), results)
	} else {
		report(os.Stdout, o, before, proc.Load(), results)
	}
	if o.keepLog {
		fmt.Fprintln(os.Stderr, tail(filepath.Join(dir, "segue.log")))
	}
	return err
}

// say tells a person who waits how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
