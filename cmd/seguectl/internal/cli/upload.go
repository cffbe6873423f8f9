package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	"github.com/segue-music/segue/cmd/seguectl/internal/signin"
	"github.com/segue-music/segue/cmd/seguectl/internal/tus"
	"github.com/segue-music/segue/cmd/seguectl/internal/upload"
)

type uploadCmd struct {
	Files    []string `arg:"" name:"file" help:"Files, or folders whose audio files are taken."`
	Wait     wait     `placeholder:"playable|complete" help:"Wait until each track is complete; --wait=playable waits only until it can be played."`
	Parallel int      `default:"2" help:"How many files are sent at a time."`
	JSON     bool     `name:"json" help:"Print an array of {file,bytes,upload_id,track_id,state,reason,trace_id}."`
}

func (c *uploadCmd) Help() string {
	return `An upload that is cut off goes on where it was when the same command is given again.
The exit code is 0 when every file has arrived and, with --wait, has become a track.`
}

// wait is a flag whose value may be left out.
type wait string

// IsBool tells kong that the flag stands alone unless a value follows a "=".
func (w *wait) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (w *wait) Decode(ctx *kong.DecodeContext) error {
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		*w = wait(upload.UntilComplete)
		return nil
	}
	switch v := fmt.Sprint(ctx.Scan.Pop().Value); v {
	case string(upload.UntilPlayable), string(upload.UntilComplete):
		*w = wait(v)
	case "false":
		*w = ""
	default:
		return fmt.Errorf("%q is neither playable nor complete", v)
	}
	return nil
}

func (c *uploadCmd) Run(ctx context.Context, r *run) error {
	files, err := upload.Find(c.Files)
	if err != nil {
		return err
	}
	dir, a, err := r.api()
	if err != nil {
		return err
	}
	resume, err := dir.Sub("uploads")
	if err != nil {
		return err
	}
	var bytes int64
	for _, f := range files {
		bytes += f.Size
	}
	bar := show.NewBytes(r.Err, "upload", bytes)
	defer func() { bar.Close() }()
	u := &upload.Uploader{
		Tus: &tus.Client{
			HTTP: a.HTTP(), Endpoint: a.Base().JoinPath("/upload/v1/files/"),
			Permanent: func(err error) bool { return errors.Is(err, home.ErrSignedOut) || errors.Is(err, signin.ErrEnded) },
		},
		Resume: upload.NewResume(resume), Uploads: a.Uploads(), Catalogue: a.Catalogue(), Parallel: c.Parallel,
		Observer: upload.Observer{
			Sent:    func(n int64) { bar.Set(n, bytes) },
			Changed: func(res upload.Result) { tellUpload(bar, res) },
		},
	}
	results, err := u.Send(ctx, files)
	if err != nil {
		r.note("Give the same command again to go on.")
		return err
	}
	bar.Close()
	if c.Wait != "" {
		bar = show.NewCount(r.Err, "ingest", int64(len(results)))
		u.Observer.Changed = follow(bar, results, upload.Until(c.Wait))
		if err := u.Wait(ctx, results, upload.Until(c.Wait)); err != nil {
			return err
		}
		bar.Close()
	}
	return c.tell(r, results)
}

// tellUpload tells of a file that was sent, or not.
func tellUpload(bar *show.Bar, res upload.Result) {
	if res.Failed() {
		bar.Line("failed  %s: %s", res.File, res.Reason)
		return
	}
	bar.Line("sent    %s", res.File)
}

// follow tells of the files' way to tracks. It is called under no lock, and from several
// goroutines.
func follow(bar *show.Bar, results []upload.Result, until upload.Until) func(upload.Result) {
	total := int64(len(results))
	var done int64
	for _, r := range results {
		if r.Failed() {
			done++
		}
	}
	bar.Set(done, total)
	over := make(chan int64, 1)
	over <- done
	return func(r upload.Result) {
		bar.Line("%-10s  %s", r.State, r.File)
		if !r.Over(until) {
			return
		}
		n := <-over + 1
		over <- n
		bar.Set(min(n, total), total)
	}
}

func (c *uploadCmd) tell(r *run, results []upload.Result) error {
	failed := slices.ContainsFunc(results, func(res upload.Result) bool { return res.Failed() })
	if c.JSON {
		if err := show.JSON(r.Out, results); err != nil {
			return err
		}
	} else {
		var rows [][]string
		for _, res := range results {
			last := res.File
			if res.Reason != "" {
				last += ": " + res.Reason
			}
			rows = append(rows, []string{orDash(res.TrackID), res.State, last})
		}
		if err := show.Table(r.Out, []string{"TRACK", "STATE", "FILE"}, rows); err != nil {
			return err
		}
	}
	if failed {
		return errSilent
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
