// Package cli is the command line of seguectl: the commands, their flags, and how they
// tell what they did.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/alecthomas/kong"

	"github.com/segue-music/segue/cmd/seguectl/internal/act"
	"github.com/segue-music/segue/cmd/seguectl/internal/api"
	"github.com/segue-music/segue/cmd/seguectl/internal/home"
)

// Streams are the standard ones.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// grammar is what can be typed.
type grammar struct {
	Config  string           `help:"Folder of the sign-in and of what is not delivered yet." placeholder:"DIR" env:"SEGUECTL_CONFIG"`
	Verbose bool             `short:"v" help:"Tell more on standard error."`
	Keep    bool             `name:"keep-trace" help:"Ask the server to keep the traces of what is done, and tell their ids on standard error."`
	Version kong.VersionFlag `help:"Print the version and exit."`

	Login  loginCmd  `cmd:"" help:"Sign in to a server."`
	Logout logoutCmd `cmd:"" help:"Sign out, here and at the server."`
	Upload uploadCmd `cmd:"" help:"Upload audio files, or the audio files of folders."`
	Tracks tracksCmd `cmd:"" help:"List the tracks of the catalogue."`
	Play   playCmd   `cmd:"" help:"Play tracks one after the other, without a gap."`
	Status statusCmd `cmd:"" help:"Show how far the server is with taking in music."`
	Events eventsCmd `cmd:"" help:"Follow or search the events of the platform."`
	Audit  auditCmd  `cmd:"" help:"Show everything that happened to an account, a track, an album or an upload."`
	User   userCmd   `cmd:"" help:"Create, list and change accounts."`
	Keys   keysCmd   `cmd:"" help:"List and rotate the server's keys."`
}

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// errSilent fails without a word: all has been said.
var errSilent = errors.New("failed")

// run is one run of the program.
type run struct {
	Streams
	version string
	config  string
	log     *slog.Logger
}

func (r *run) agent() string { return "seguectl/" + r.version }

// home opens the configuration folder.
func (r *run) home() (*home.Dir, error) { return home.Open(r.config) }

// api is the client of who is signed in.
func (r *run) api() (*home.Dir, *api.API, error) {
	dir, err := r.home()
	if err != nil {
		return nil, nil, err
	}
	a, err := api.New(dir, r.agent())
	return dir, a, err
}

func (r *run) say(format string, args ...any) { fmt.Fprintf(r.Out, format+"\n", args...) }

func (r *run) note(format string, args ...any) { fmt.Fprintf(r.Err, format+"\n", args...) }

// exit is a panic that carries an exit code out of the parser, which wants to end the
// program.
type exit int

// Run runs a command line and returns the exit code.
func Run(ctx context.Context, version string, args []string, streams Streams) (code int) {
	defer func() {
		if v := recover(); v != nil {
			e, ok := v.(exit)
			if !ok {
				panic(v)
			}
			code = int(e)
		}
	}()
	var g grammar
	parser, err := kong.New(&g, kong.Name("seguectl"), kong.Description("The command line of Segue: upload, play and look after a server."),
		kong.UsageOnError(), kong.Writers(streams.Out, streams.Err), kong.Exit(func(c int) { panic(exit(c)) }),
		kong.Vars{"version": version}, kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(streams.Err, "seguectl:", err)
		return exitUsage
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(streams.Err, "seguectl:", err)
		fmt.Fprintln(streams.Err, "Try seguectl --help.")
		return exitUsage
	}
	level := slog.LevelError
	if g.Verbose {
		level = slog.LevelDebug
	}
	r := &run{
		Streams: streams, version: version, config: g.Config,
		log: slog.New(slog.NewTextHandler(streams.Err, &slog.HandlerOptions{Level: level})),
	}
	if ctx = act.Begin(ctx); g.Keep {
		ctx = act.Keep(ctx)
		r.note("trace %s", act.Hex(act.ID(ctx)))
	}
	cmd.BindTo(ctx, (*context.Context)(nil))
	err = cmd.Run(r)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitInterrupted
	case !errors.Is(err, errSilent):
		fmt.Fprintln(streams.Err, "seguectl:", explain(err))
	}
	return exitFailed
}
