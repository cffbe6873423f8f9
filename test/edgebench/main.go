// Edgebench measures what sealed objects cost over HTTPS: ranges of one hot object from
// the built segue and, in turns, from nginx with deploy/nginx.conf, which both check a
// token at each request, and from nginx with the plain file and no check. It prints
// Markdown: bytes per second of the server's processor time, and how many times nginx'.
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
	"github.com/segue-music/segue/test/built"
	"github.com/segue-music/segue/test/person"
	"github.com/segue-music/segue/test/proc"
	"github.com/segue-music/segue/test/seed"
)

type options struct {
	bin, music string
	conns      int
	rounds     int
	slot       time.Duration
	profile    string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "folder of the built segue")
	flag.StringVar(&o.music, "music", "", "folder of music; empty makes noise")
	flag.IntVar(&o.conns, "conns", 8, "connections that ask at a time")
	flag.IntVar(&o.rounds, "rounds", 3, "how often the servers take turns; the median counts")
	flag.DurationVar(&o.slot, "slot", 1500*time.Millisecond, "how long one turn is")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of segue under 64 KiB ranges over HTTP/1.1, instead of the table")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "edgebench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "segue-edge-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := startSegue(ctx, o, dir)
	if err != nil {
		return err
	}
	defer s.Stop()
	obj, err := hot(ctx, o, s)
	if err != nil {
		return err
	}
	if o.profile != "" {
		return profile(ctx, o, s, obj)
	}
	servers := []server{{"segue", s.HTTP + obj.path, s.Trust, func() time.Duration { return proc.CPU(s.PID) }}}
	for _, plain := range []bool{false, true} {
		n, stop, err := startNginx(ctx, dir, s, obj, plain)
		if err != nil {
			return err
		}
		defer stop()
		servers = append(servers, n)
	}
	return report(ctx, o, obj, servers)
}

// object is the one that all ask for.
type object struct {
	path string // with its token
	file string
	size int
}

// hot makes a track and returns its object, with leave to read it.
func hot(ctx context.Context, o options, s *built.Segue) (*object, error) {
	made, err := seed.Catalogue(ctx, seed.Options{RPC: s.RPC, Secrets: s.Data + "-secrets", Data: s.Data, Music: o.music, Tracks: 1, WithSound: 1})
	if err != nil {
		return nil, fmt.Errorf("make a track: %w", err)
	}
	track := made.WithSound()[0]
	web := &http.Transport{TLSClientConfig: s.Trust.Clone()}
	defer web.CloseIdleConnections()
	p, err := person.SignIn(ctx, web, s.HTTP, "admin", built.Password)
	if err != nil {
		return nil, err
	}
	session, err := p.OpenSession(ctx, p.Client(web), "edgebench", "test/edgebench")
	if err != nil {
		return nil, err
	}
	config, err := session.Config(web)
	if err != nil {
		return nil, err
	}
	c, err := client.Open(config)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	at, err := id.Parse(track.ID)
	if err != nil {
		return nil, err
	}
	st, err := c.Play(ctx, client.Request{Track: at, Quality: wire.Kbps160, HeadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("ask for the object: %w", err)
	}
	defer st.Close()
	head := st.Head()
	name := hex.EncodeToString(head.ObjectID[:])
	out := &object{path: strings.ReplaceAll(head.CDN, "{object}", name), file: filepath.Join(s.Data, "blobs", "objects", "objects", name)}
	info, err := os.Stat(out.file)
	if err != nil {
		return nil, err
	}
	out.size = int(info.Size())
	return out, nil
}

// kinds are what is asked for.
var kinds = []struct {
	name  string
	size  int
	http2 bool
}{
	{"1 MiB, HTTP/1.1", 1 << 20, false},
	{"256 KiB, HTTP/1.1", 256 << 10, false},
	{"64 KiB, HTTP/1.1", 64 << 10, false},
	{"256 KiB, HTTP/2", 256 << 10, true},
}

func report(ctx context.Context, o options, obj *object, servers []server) error {
	fmt.Printf("%s; an object of %.1f MB, %d connections, %d rounds of %s\n\n", proc.Machine(), float64(obj.size)/1e6, o.conns, o.rounds, o.slot)
	fmt.Println("| ranges | segue, MB per CPU s | nginx, MB per CPU s | segue ÷ nginx | goal | nginx, plain file without a check | segue, MB/s | nginx, MB/s |")
	fmt.Println("|---|--:|--:|--:|---|--:|--:|--:|")
	for _, k := range kinds {
		perCPU, perSecond := make([][]float64, len(servers)), make([][]float64, len(servers))
		for round := range o.rounds {
			for i := range servers {
				i := (i + round) % len(servers)
				m, err := ask(ctx, servers[i], obj.size, k.size, k.http2, o.conns, o.slot)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", servers[i].name, k.name, err)
				}
				perCPU[i] = append(perCPU[i], float64(m.bytes)/1e6/m.cpu.Seconds())
				perSecond[i] = append(perSecond[i], float64(m.bytes)/1e6/m.wall.Seconds())
			}
		}
		ratio := median(perCPU[0]) / median(perCPU[1])
		verdict := "≥ 0.8: met"
		if ratio < 0.8 {
			verdict = "≥ 0.8: **missed**"
		}
		fmt.Printf("| %s | %.0f | %.0f | %.2f | %s | %.0f | %.0f | %.0f |\n", k.name, median(perCPU[0]), median(perCPU[1]), ratio, verdict,
			median(perCPU[2]), median(perSecond[0]), median(perSecond[1]))
	}
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
