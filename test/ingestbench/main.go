// Ingestbench measures what taking music in costs the built segue: CPU to list a large
// folder, the wait of who clicks on a track that is not prepared yet, memory at rest, and
// the time of a restart. It prints rows of Markdown.
//
//	go run ./test/ingestbench -h
//
// The CPU of a whole ingest beside that of bare ffmpeg commands is a benchmark of
// services/upload; scripts/ingestbench.sh runs both.
package main

import (
	"context"
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

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/test/person"
	"github.com/segue-music/segue/test/proc"
)

// bench are the settings of a run.
type bench struct {
	segue, dir    string
	files, others int
	restarts      int
}

func main() {
	var b bench
	parts := flag.String("parts", "scan,restart,idle,playable", "what is measured; restart needs scan")
	flag.StringVar(&b.segue, "segue", "bin/segue", "program under test")
	flag.StringVar(&b.dir, "dir", "", "folder for the library and the data; empty is a new one, removed at the end")
	flag.IntVar(&b.files, "files", 20_000, "files of the library")
	flag.IntVar(&b.others, "others", 1_000, "tracks that wait before the one that is clicked")
	flag.IntVar(&b.restarts, "restarts", 10, "how often it is started again")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := b.run(ctx, strings.Split(*parts, ","))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ingestbench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, parts []string) (err error) {
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "ingestbench-"); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	}
	fmt.Print("| what | goal | figure | |\n|---|--:|--:|---|\n")
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{{"scan", b.scan}, {"restart", b.restart}, {"idle", b.idle}, {"playable", b.playable}} {
		if !slices.Contains(parts, part.name) {
			continue
		}
		if err := part.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

func row(what, goal, figure, more string) {
	fmt.Printf("| %s | %s | %s | %s |\n", what, goal, figure, more)
}

func (b *bench) folder(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// makeLibrary makes the library once.
func (b *bench) makeLibrary(ctx context.Context) (string, error) {
	dir := filepath.Join(b.dir, fmt.Sprint("library-", b.files))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part := dir + ".part"
	if err := errors.Join(os.RemoveAll(part), library(ctx, part, b.files)); err != nil {
		return "", err
	}
	return dir, os.Rename(part, dir)
}

// listed waits until metadata has n tracks.
func (s *server) listed(ctx context.Context, n int) error {
	for {
		have, err := s.metric(ctx, `segue_metadata_ingest_total{call="put_track",outcome="ok"}`)
		if err != nil || int(have) >= n {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// scan is the CPU until every file of the library is listed with its tags, from the exec
// on. Children are decoders: a handful, since sound waits for the scan.
func (b *bench) scan(ctx context.Context) (err error) {
	lib, err := b.makeLibrary(ctx)
	if err != nil {
		return err
	}
	dir, err := b.folder("scan")
	if err != nil {
		return err
	}
	began := time.Now()
	s, err := b.start(ctx, dir, "-upload.watch="+lib)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.listed(ctx, b.files); err != nil {
		return err
	}
	own := proc.CPU(s.cmd.Process.Pid)
	children, err := proc.Children(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	wall := time.Since(began)
	playable, err := s.metric(ctx, `segue_upload_transitions_total{state="playable"}`)
	if err != nil {
		return err
	}
	p, err := person.SignIn(ctx, http.DefaultTransport, s.HTTP, "admin", password)
	if err != nil {
		return err
	}
	listed, err := tracks(ctx, p)
	if err != nil {
		return err
	}
	if len(listed) != b.files {
		return fmt.Errorf("%d tracks are listed, want %d", len(listed), b.files)
	}
	for _, t := range listed {
		if t.GetTitle() == "" || t.GetAlbumTitle() == "" || len(t.GetCredits()) == 0 || t.GetDurationMs() == 0 {
			return fmt.Errorf("track is listed without its tags: %v", t)
		}
	}
	n := float64(b.files)
	row(fmt.Sprintf("scan and tags of %d files, files per CPU second", b.files), "800", fmt.Sprintf("%.0f", n/own.Seconds()),
		fmt.Sprintf("%.1f s of CPU, %.0f s of time; decoders beside it %.1f s; %.0f tracks played by then", own.Seconds(), wall.Seconds(), children.Seconds(), playable))
	return nil
}

// restart is from the exec to the ready file, on the data and the folder of scan.
func (b *bench) restart(ctx context.Context) error {
	var took []time.Duration
	var cpu time.Duration
	for range b.restarts {
		s, err := b.start(ctx, filepath.Join(b.dir, "scan"), "-upload.watch="+filepath.Join(b.dir, fmt.Sprint("library-", b.files)))
		if err != nil {
			return err
		}
		own := proc.CPU(s.cmd.Process.Pid)
		children, err := proc.Children(s.cmd.Process.Pid)
		if err := errors.Join(err, s.stop()); err != nil {
			return err
		}
		took, cpu = append(took, s.took), cpu+own+children
	}
	slices.Sort(took)
	row(fmt.Sprintf("restart with %d tracks, p50 s", b.files), "0.3", fmt.Sprintf("%.2f", took[len(took)/2].Seconds()),
		fmt.Sprintf("%.2f to %.2f s of %d; %.2f s of CPU", took[0].Seconds(), took[len(took)-1].Seconds(), len(took), cpu.Seconds()/float64(len(took))))
	return nil
}

// settleTime is how long segue is left alone before its memory is read.
const settleTime = 5 * time.Second

// idle is the resident memory of the second start of a Segue without music.
func (b *bench) idle(ctx context.Context) error {
	dir, err := b.folder("idle")
	if err != nil {
		return err
	}
	for i := range 2 {
		s, err := b.start(ctx, dir)
		if err != nil {
			return err
		}
		if i == 1 {
			time.Sleep(settleTime) //nolint:forbidigo // nothing tells that it is at rest
			m := proc.Look(s.cmd.Process.Pid)
			row("memory at rest, MB", "60", fmt.Sprintf("%.1f", float64(m.RSS)/(1<<20)),
				fmt.Sprintf("%.1f anonymous, %.1f of the program's file", float64(m.Anon)/(1<<20), float64(m.RSS-m.Anon)/(1<<20)))
		}
		if err := s.stop(); err != nil {
			return err
		}
	}
	return nil
}

// clicks is how many tracks are clicked, one after another.
const clicks = 3

// playable is from the click on a track of four minutes to its first sound, while others
// wait in the queue.
func (b *bench) playable(ctx context.Context) (err error) {
	dir, err := b.folder("playable")
	if err != nil {
		return err
	}
	lib := filepath.Join(dir, "music")
	if err := library(ctx, lib, b.others); err != nil {
		return err
	}
	long, err := makeSound(ctx, kinds()[0], 240)
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(lib, "zz"), 0o700); err != nil {
		return fmt.Errorf("make library: %w", err)
	}
	for i := range clicks {
		file, err := flac(long, song{title: fmt.Sprint("wanted ", i), album: "Wanted", artists: []string{"Who"}, albumArtists: []string{"Who"}, track: i + 1, tracks: clicks, disc: 1, discs: 1})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(lib, "zz", fmt.Sprintf("%d.flac", i)), file, 0o600); err != nil {
			return fmt.Errorf("make library: %w", err)
		}
	}
	s, err := b.start(ctx, dir, "-upload.watch="+lib)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.listed(ctx, b.others+clicks); err != nil {
		return err
	}
	p, err := person.SignIn(ctx, http.DefaultTransport, s.HTTP, "admin", password)
	if err != nil {
		return err
	}
	listed, err := tracks(ctx, p)
	if err != nil {
		return err
	}
	opened, err := p.OpenSession(ctx, p.Client(http.DefaultTransport), "bench", "bench")
	if err != nil {
		return err
	}
	config, err := opened.Config(http.DefaultTransport)
	if err != nil {
		return err
	}
	session, err := client.Open(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	var took []time.Duration
	waiting := 0
	for _, t := range listed {
		if t.GetState() == metadatav1.TrackState_TRACK_STATE_PENDING {
			waiting++
		}
	}
	for _, t := range listed {
		if !strings.HasPrefix(t.GetTitle(), "wanted ") {
			continue
		}
		began := time.Now()
		if _, err := hear(ctx, session, t.GetId()); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	row("click on a track of 4 minutes that is not prepared, s until its first sound", "", fmt.Sprintf("%.1f", took[len(took)/2].Seconds()),
		fmt.Sprintf("%d clicks, %.1f to %.1f; %d tracks waited", len(took), took[0].Seconds(), took[len(took)-1].Seconds(), waiting))
	return nil
}
