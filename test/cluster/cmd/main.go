// Command cluster runs Segue as one process per service, for a developer: on the engines,
// which it starts too, with music that comes by a bucket. It goes on until a signal, and
// then leaves nothing behind; another call with stop sends that signal.
//
//	cluster run     runs it and tells where it is; its data begin anew each time
//	cluster stop    ends the one that runs in the folder, and nothing else
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/segue-music/segue/test/cluster"
	"github.com/segue-music/segue/test/proc"
	"github.com/segue-music/segue/test/running"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// settings are where everything is.
type settings struct {
	dir, bin, engines, music string
}

func command(args []string) error {
	var s settings
	fs := flag.NewFlagSet("cluster", flag.ContinueOnError)
	fs.StringVar(&s.dir, "dir", filepath.Join(os.TempDir(), "segue-cluster-"+strconv.Itoa(os.Getuid())), "folder of the running cluster, through which others may pass")
	fs.StringVar(&s.bin, "bin", "bin", "folder of segue, seguectl and engines")
	fs.StringVar(&s.engines, "engines", "", "folder that scripts/engines.sh fills")
	fs.StringVar(&s.music, "music", "", "folder whose music is put into the bucket")
	if len(args) == 0 {
		return errors.New("usage: cluster run|stop [-dir=…] [-bin=…] [-engines=…] [-music=…]")
	}
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	f, err := running.Open(s.dir)
	if err != nil {
		return err
	}
	s.dir = string(*f)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	switch args[0] {
	case "run":
		return s.run(ctx, f)
	case "stop":
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		return f.Stop(ctx)
	}
	return fmt.Errorf("%q is none of run, stop", args[0])
}

// run runs everything in the folder, whose data go at the end.
func (s settings) run(ctx context.Context, f *running.Folder) (err error) {
	lock, err := f.Lock()
	if err != nil {
		return fmt.Errorf("in %s: %w", s.dir, err)
	}
	defer lock.Close()
	data := f.Path("data")
	if err := os.RemoveAll(data); err != nil { // of one that was killed
		return err
	}
	if err := os.Mkdir(data, running.Passable); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	fmt.Fprintln(os.Stderr, "Starting PostgreSQL, Cassandra, Redis, Kafka and S3")
	engines, runner, err := cluster.StartEngines(ctx, filepath.Join(s.bin, "engines"), s.engines, filepath.Join(data, "engines"))
	if err != nil {
		return quiet(ctx, err)
	}
	defer func() { err = errors.Join(err, runner.Stop(time.Minute)) }()
	r, music, err := s.start(ctx, engines, data)
	if err != nil {
		return quiet(ctx, err)
	}
	defer func() { err = errors.Join(err, r.Stop()) }()
	if err := s.signIn(ctx, data, r.URL, music); err != nil {
		return quiet(ctx, err)
	}
	return r.Wait(ctx, runner)
}

// quiet is err, unless somebody has asked for the end.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // asked for
	}
	return err
}

// The buckets.
const (
	objects = "objects"
	inbox   = "inbox"
)

// start puts the music into its bucket, of which it counts the files, and starts the
// processes.
func (s settings) start(ctx context.Context, e *cluster.Engines, data string) (r *cluster.Running, music int, err error) {
	if err := os.WriteFile(filepath.Join(data, "password"), []byte(rand.Text()+"\n"), 0o600); err != nil {
		return nil, 0, err
	}
	in := e.Bucket(inbox)
	if err := errors.Join(in.Make(ctx), e.Bucket(objects).Make(ctx)); err != nil {
		return nil, 0, err
	}
	if music, err = in.PutFolder(ctx, s.music); err != nil {
		return nil, 0, err
	}
	fmt.Fprintf(os.Stderr, "%d files are in the bucket %s\n", music, inbox)
	plan, err := cluster.NewPlan(ctx, cluster.Options{
		Engines: e, Root: ".", Dir: data, Name: "segue", Bucket: objects, Inbox: inbox, Password: filepath.Join(data, "password"),
	})
	if err != nil {
		return nil, 0, err
	}
	r, err = cluster.Run(ctx, filepath.Join(s.bin, "segue"), data, plan)
	return r, music, err
}

// signIn tells how to reach it, and shows the way of the music.
func (s settings) signIn(ctx context.Context, data, url string, music int) error {
	password, err := os.ReadFile(filepath.Join(data, "password"))
	if err != nil {
		return err
	}
	fmt.Printf("\n  Segue is at        %s\n  Sign in as         admin\n  with the password  %s\n", url, password)
	ctl := func(stdin string, args ...string) error {
		cmd := s.ctl(ctx, data, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), os.Stderr, os.Stderr
		return cmd.Run()
	}
	if err := ctl(string(password), "login", "--server", url, "--user", "admin", "--password-stdin"); err != nil {
		return err
	}
	if music > 0 {
		if err := s.listed(ctx, data); err != nil {
			return err
		}
	}
	if err := ctl("", "status", "--wait"); err != nil {
		return err
	}
	fmt.Printf("  Ready. Logs and data are in %s until the end; ctrl-C or make cluster-stop ends it.\n", data)
	return nil
}

func (s settings) ctl(ctx context.Context, data string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "seguectl"), args...)
	cmd.Env = append(os.Environ(), "SEGUECTL_CONFIG="+filepath.Join(data, "seguectl"))
	return cmd
}

// listed waits until the first files of the bucket are known: before that there is nothing
// to wait for.
func (s settings) listed(ctx context.Context, data string) error {
	return proc.Until(ctx, time.Minute, func() error {
		text, err := s.ctl(ctx, data, "status", "--json").Output()
		if err != nil {
			return err
		}
		var n struct{ Total int }
		if err := json.Unmarshal(text, &n); err != nil || n.Total > 0 {
			return err
		}
		return errors.New("no file of the bucket is known")
	})
}
