// Command load measures what listeners cost the server: it starts the built segue on a
// new data folder with a large catalogue, lets listeners in a process of their own play
// from it in real time over the whole protocol, and prints the server's processor time
// and memory as Markdown, beside those of a plain HTTPS server that sends as many bytes in
// as many bursts in the same run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are what can be asked for.
type options struct {
	role, spec      string // of a child
	bin, music      string
	listeners       int
	accounts        int
	minutes, settle float64
	ramp            time.Duration
	transport       string
	tracks, sound   int
	seek, skip      float64
	peer            bool
	peerSeconds     float64
	profile         string
	flags           string
	keep            string
}

func (o *options) register(fs *flag.FlagSet) {
	fs.StringVar(&o.role, "role", "", "what a child does; empty for people")
	fs.StringVar(&o.spec, "spec", "", "file with what a child is told; empty for people")
	fs.StringVar(&o.bin, "bin", "bin", "folder of the built segue")
	fs.StringVar(&o.music, "music", "", "folder of music to cut the tracks from; empty makes a loud mix")
	fs.IntVar(&o.listeners, "listeners", 100, "listeners at a time")
	fs.IntVar(&o.accounts, "accounts", 0, "accounts that they are signed in to; 0 is one for each ten")
	fs.Float64Var(&o.minutes, "minutes", 1, "how long is measured")
	fs.Float64Var(&o.settle, "settle", 0.5, "minutes between the last to join and the measurement")
	fs.DurationVar(&o.ramp, "ramp", 0, "time over which they join; 0 is 30 ms for each, 10 s at least")
	fs.StringVar(&o.transport, "transport", "quic", "quic, webtransport or both, one after the other")
	fs.IntVar(&o.tracks, "tracks", 20_000, "tracks in the catalogue")
	fs.IntVar(&o.sound, "sound", 200, "of them with sound, of which each start takes one at random")
	fs.Float64Var(&o.seek, "seek", 0.2, "share of tracks in which the listener seeks once")
	fs.Float64Var(&o.skip, "skip", 0.1, "share of tracks that are skipped before their end")
	fs.BoolVar(&o.peer, "peer", true, "measure a plain HTTPS server too")
	fs.Float64Var(&o.peerSeconds, "peer-seconds", 60, "how long that is measured")
	fs.StringVar(&o.profile, "profile", "", "file that gets a processor profile of segue, taken while it is measured, and with .heap behind it one of its memory")
	fs.StringVar(&o.flags, "flags", "", "more flags of segue, separated by spaces")
	fs.StringVar(&o.keep, "keep", "", "existing empty folder for the data, which then stays; empty makes one that does not")
}

func main() {
	var o options
	fs := flag.NewFlagSet("load", flag.ExitOnError)
	o.register(fs)
	_ = fs.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, &o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	switch o.role {
	case "":
		return measure(ctx, o)
	case "accounts":
		return makeAccounts(ctx, o.spec)
	case "listeners":
		return listen(ctx, o.spec)
	case "peer":
		return servePeer(ctx, o.spec)
	case "peer-clients":
		return askPeer(ctx, o.spec)
	default:
		return fmt.Errorf("there is no role %q", o.role)
	}
}

// say tells a person who waits how far it is.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "load: %s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}
