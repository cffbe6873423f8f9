// Command cmd fills a running Segue with a catalogue: go run ./test/seed/cmd -h.
// The server has to be started with -rpc.listen.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/segue-music/segue/test/seed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o := seed.Options{Say: func(format string, args ...any) { fmt.Fprintf(os.Stderr, "seed: "+format+"\n", args...) }}
	var kbps string
	var list bool
	flag.StringVar(&o.RPC, "rpc", "", "base URL of the server's -rpc.listen")
	flag.StringVar(&o.Data, "data", "data", "data folder of the server")
	flag.StringVar(&o.Secrets, "secrets", "", "folder of its keys; empty is the data folder's name with -secrets")
	flag.StringVar(&o.Owner, "owner", "admin", "username that owns the tracks")
	flag.IntVar(&o.Tracks, "tracks", 20_000, "tracks in all")
	flag.IntVar(&o.WithSound, "sound", 200, "tracks with sound")
	flag.StringVar(&kbps, "kbps", "160", "comma-separated renditions of those with sound: 24, 96, 160, 320")
	flag.IntVar(&o.Seconds, "seconds", 190, "length of the shortest track with sound")
	flag.IntVar(&o.Sources, "sources", 5, "different pieces of music, of which the tracks are made")
	flag.StringVar(&o.Music, "music", "", "folder of music to cut them from; empty makes a loud mix")
	flag.StringVar(&o.Cache, "cache", "", "folder that keeps encoded pieces; empty is one of the user's")
	flag.Uint64Var(&o.Seed, "seed", 1, "draws another catalogue")
	flag.BoolVar(&list, "list", false, "print the tracks with sound as JSON")
	flag.Parse()
	if o.Secrets == "" {
		o.Secrets = strings.TrimSuffix(o.Data, "/") + "-secrets"
	}
	for part := range strings.SplitSeq(kbps, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("seed: kbps: %w", err)
		}
		o.Kbps = append(o.Kbps, n)
	}
	r, err := seed.Catalogue(ctx, o)
	if err != nil {
		return err
	}
	if list {
		return json.NewEncoder(os.Stdout).Encode(r.WithSound())
	}
	return nil
}
