package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"os/exec"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/services/upload"
)

func buildUpload(ctx context.Context, p *process) error {
	runner, err := p.decoder()
	if err != nil {
		return fmt.Errorf("set up the decoder: %w", err)
	}
	if missing := runner.Missing(); len(missing) > 0 {
		p.log.Warn("this machine lacks protections for the decoder", "missing", missing)
	}
	store, err := p.openUploadStore(ctx)
	if err != nil {
		return err
	}
	people := dial(p, "upload", "user", userv1connect.NewDirectoryServiceClient)
	owner := func(ctx context.Context) (string, error) {
		r, err := people.FindAccount(ctx, &userv1.FindAccountRequest{Username: p.config.WatchOwner})
		return r.GetId(), err
	}
	inbox, bucket, err := p.openInbox(ctx, owner)
	if err != nil {
		return err
	}
	svc, err := upload.New(upload.Deps{
		Config: p.config.Upload, Store: store, Blob: p.blobs, Dir: p.path("upload"), FFmpeg: runner, Fingerprints: fpcalc(),
		Metadata:   dial(p, "upload", "metadata", metadatav1connect.NewIngestServiceClient),
		Keys:       dial(p, "upload", "playback", playbackv1connect.NewKeyServiceClient),
		WatchOwner: owner, Inbox: inbox, Bucket: bucket,
		Log: p.log, Now: p.now, NewID: p.newID, Space: p.space.Check, Random: rand.Reader, Jitter: mrand.Float64, Metrics: p.metrics, Tracer: p.tracer,
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, svc.Close)
	p.serve("upload", svc.Handler(p.server.Options()...))
	if err := p.relay("upload", store.Relay(p.events, p.log)); err != nil {
		return err
	}
	p.run("upload", svc.Run)
	return nil
}

// tryDecoder begins to try the decoder's sandbox out, which starts two programs, while the
// stores open. What it returns waits for the outcome.
func tryDecoder(ctx context.Context, c upload.Config) func() (*ffmpeg.Runner, error) {
	type outcome struct {
		runner *ffmpeg.Runner
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		self, err := os.Executable()
		if err != nil {
			done <- outcome{err: fmt.Errorf("find this program: %w", err)}
			return
		}
		r, err := ffmpeg.New(ctx, ffmpeg.Config{
			Self: self, SelfArgs: []string{SandboxCommand}, MaxDuration: c.MaxDuration, MaxCPU: c.MaxCPU, MaxWall: c.MaxWall,
		})
		done <- outcome{r, err}
	}()
	return func() (*ffmpeg.Runner, error) {
		o := <-done
		return o.runner, o.err
	}
}

// fpcalc is nil where the program is missing: nothing is compared then.
func fpcalc() *fingerprint.Calculator {
	if _, err := exec.LookPath("fpcalc"); errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	return &fingerprint.Calculator{}
}
