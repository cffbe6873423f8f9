// Command audiobench measures what Segue finds out about sound, on real music and in figures that anyone can repeat. What
// it prints is Markdown.
//
//	codes    the items of audio/fingerprint beside fpcalc's, one by one
//	recall   copies made worse, trimmed, cut to 10 s, drowned in noise: which are found, and what else is
//	speeds   copies that are played faster or slower: which are found as they are, and by trying speeds
//	speed    audio/fingerprint beside fpcalc, in turns
//	scale    a million tracks in the index, with items whose statistics are those of real ones
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// options are what can be asked for.
type options struct {
	music   string
	dir     string
	tracks  int
	seconds int
	rounds  int
	scale   int
	queries int
	only    string
}

func (o *options) register(fs *flag.FlagSet) {
	fs.StringVar(&o.music, "music", "", "folder of music: .ogg, .mp3, .flac, .m4a, .opus, .wav, at any depth")
	fs.StringVar(&o.dir, "dir", ".", "folder on the disk that the index of scale is written to, in a folder of its own that is removed")
	fs.IntVar(&o.tracks, "tracks", 0, "take no more tracks than this; 0 takes all")
	fs.IntVar(&o.seconds, "scale.seconds", 105, "length of a track of scale; with a million of 105 s it takes 8 GB of disk while segments are merged")
	fs.IntVar(&o.rounds, "rounds", 5, "how often each program gets its turn in speed; figures are medians")
	fs.IntVar(&o.scale, "scale.tracks", 1_000_000, "how many tracks scale puts into an index")
	fs.StringVar(&o.only, "scale.only", "", "measure only one index of scale: duplicates or clips")
	fs.IntVar(&o.queries, "scale.queries", 1000, "how many queries scale asks")
}

func main() {
	var o options
	fs := flag.NewFlagSet("audiobench", flag.ExitOnError)
	o.register(fs)
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "audiobench [FLAGS] [codes] [recall] [speeds] [speed] [scale]")
		fs.PrintDefaults()
	}
	_ = fs.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, &o, fs.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "audiobench:", err)
		os.Exit(1)
	}
}
