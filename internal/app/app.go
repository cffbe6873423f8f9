// Package app is the only place where Segue is put together: it reads the settings,
// picks the engines, gives each service its clients and runs what -target names.
package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/segue-music/segue/internal/config"
	"github.com/segue-music/segue/internal/lifecycle"
)

// SandboxCommand is the hidden subcommand that main hands to the decoder's sandbox.
const SandboxCommand = "sandbox-exec"

// Main runs segue and returns its exit status: 0, 1 for a failure, 2 for bad settings.
func Main(version string, args, environ []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("segue", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var c Config
	c.RegisterFlags(fs)
	showVersion := fs.Bool("version", false, "print the version and end")
	check := fs.Bool("config.check", false, "check the settings and end")
	show := fs.Bool("config.print", false, "print the settings in force as YAML and end")
	err := config.Load(fs, args, environ)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		fmt.Fprintln(stderr, "segue:", err)
		return 2
	}
	switch {
	case *showVersion:
		fmt.Fprintln(stdout, "segue", version)
		return 0
	case *show:
		if err := config.Print(stdout, fs); err != nil {
			fmt.Fprintln(stderr, "segue:", err)
			return 1
		}
		return 0
	case *check:
		fmt.Fprintln(stdout, "settings are fine")
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := Run(ctx, c, version, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "segue:", err)
		return 1
	}
	return 0
}

// Run builds the process that c asks for and runs it until ctx ends.
func Run(ctx context.Context, c Config, version string, stdout, stderr io.Writer) error {
	return run(ctx, c, version, time.Now, stdout, stderr)
}

// run is Run by another clock.
func run(ctx context.Context, c Config, version string, now func() time.Time, stdout, stderr io.Writer) (err error) {
	switch c.Target {
	case migrateOnly:
		return c.runMigrate(ctx, stderr)
	case loadOnly:
		return c.runLoad(ctx, stderr)
	}
	p, err := newProcess(ctx, c, version, now, stdout, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	p.addOps()
	for _, t := range targets() {
		if !c.runs(t.name) {
			continue
		}
		if err := t.build(ctx, p); err != nil {
			return fmt.Errorf("build %s: %w", t.name, err)
		}
	}
	if err := p.addListeners(); err != nil {
		return err
	}
	// Last, so that it drains first: whoever sends work here is told to stop doing so.
	p.group.Add(lifecycle.Component{Name: "readiness", Run: p.health.Run, Drain: func(context.Context) error {
		p.health.Drain()
		return nil
	}})
	return p.group.Run(ctx, p.ready)
}
