//go:build system

package system

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/quic-go/quic-go"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/stream/wire"
)

// oneOwnerOfData starts a second process on a data folder that is in use.
func oneOwnerOfData(d *deployment) {
	p := d.process("user")
	ctx, cancel := context.WithTimeout(d.Context(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program(d.T, "segue"), p.args...)
	cmd.Args = append(cmd.Args, "-http.listen=127.0.0.1:0", "-rpc.listen=", "-ready.file="+d.file("second"))
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		d.Errorf("a second process on the same folder ended with %v", err)
	}
	if s := out.String(); !strings.Contains(s, "data folder is in use") || strings.Count(strings.TrimSpace(s), "\n") > 3 {
		d.Errorf("it says %q", s)
	}
}

// restart stops everything while somebody listens and starts it again on the same data:
// the listener is told, nothing is done twice, and who was signed in still is.
func restart(d *deployment) {
	admin := d.admin()
	d.watchedFile()
	track := d.shared("Long one").ID
	admin.activate(track)
	before := d.remember(admin)
	session := admin.open(false)
	streaming := session.untilDraining(track)
	stop := time.Now()
	for _, p := range slices.Backward(d.procs) {
		d.count(p)
		d.stop(p)
	}
	d.Logf("stopped in %s", time.Since(stop))
	if err := d.ends(streaming, time.Second); !errors.Is(err, &wire.Error{Code: wire.Draining}) {
		d.Errorf("the stream ended with %v", err)
	}

	start := time.Now()
	for _, p := range d.procs {
		d.again(p)
	}
	d.awaitAll()
	took := time.Since(start)
	d.Logf("ready in %s", took)
	if took > 10*time.Second { // under one on a machine with nothing else to do
		d.Errorf("ready only after %s", took)
	}
	if err := admin.renew(); err != nil {
		d.Errorf("the sign-in did not survive: %v", err)
	}
	d.until(20*time.Second, "the end of the scan", func() error {
		n, err := admin.Uploads.GetIngestStatus(d.Context(), &uploadv1.GetIngestStatusRequest{})
		if err != nil || n.GetScanning() {
			return errorf("scanning is %v: %v", n.GetScanning(), err)
		}
		return nil
	})
	if diff := cmp.Diff(before, d.remember(admin)); diff != "" {
		d.Errorf("something was done twice: %s", diff)
	}
	if _, _, _, err := admin.open(false).sound(track, wire.Kbps96); err != nil {
		d.Errorf("play after the restart: %v", err)
	}
}

// watchedFile puts a file into the watched folder and waits for its track.
func (d *deployment) watchedFile() {
	d.Helper()
	d.noise("watched/found.flac", 3, 51, tags("Found in the folder", "Watched")...)
	d.until(60*time.Second, "the watched file", func() error {
		for _, t := range d.tracks() {
			if t.Title == "Found in the folder" && t.State == "complete" {
				return nil
			}
		}
		return errors.New("no such track")
	})
}

// world is what must be the same after a restart.
type world struct {
	Tracks  map[string]string // titles by id
	Uploads map[string]string // states by id
	Events  map[string]int
}

// remember waits until nothing is under way and looks at everything.
func (d *deployment) remember(admin *person) world {
	d.Helper()
	look := func() world {
		w := world{Tracks: map[string]string{}, Uploads: map[string]string{}, Events: d.counts(admin, "upload-events", "catalogue-events")}
		tracks, err := admin.Catalogue.ListTracks(d.Context(), &metadatav1.ListTracksRequest{PageSize: 1000})
		if err != nil {
			d.Fatal(err)
		}
		for _, t := range tracks.GetTracks() {
			w.Tracks[t.GetId()] = t.GetTitle()
		}
		uploads, err := admin.Uploads.ListUploads(d.Context(), &uploadv1.ListUploadsRequest{PageSize: 200})
		if err != nil {
			d.Fatal(err)
		}
		for _, u := range uploads.GetUploads() {
			w.Uploads[u.GetId()] = u.GetState().String()
		}
		return w
	}
	last := look()
	d.until(30*time.Second, "rest", func() error {
		now := look()
		diff := cmp.Diff(last, now)
		if last = now; diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	return last
}

// untilDraining asks for a track as the protocol has it, gives no credit, and tells how
// the stream ended. The client of stream/ would go on elsewhere.
func (l *listening) untilDraining(track string) <-chan error {
	d := l.p.d
	d.Helper()
	conn, err := quic.DialAddr(d.Context(), l.quic, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"segue/1"}, MinVersion: tls.VersionTLS13, // its hash is checked elsewhere
	}, nil)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	st, err := conn.OpenStreamSync(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	play := wire.Play{Track: trackID(d, track), PlayID: trackID(d, newID()), Quality: wire.Kbps24, Codecs: wire.Vorbis.Set(), Ticket: l.ticket}
	if _, err := st.Write(play.Append(nil)); err != nil {
		d.Fatal(err)
	}
	return frames(d, st)
}

// frames waits for the first record of a stream, and then for its end.
func frames(d *deployment, r io.Reader) <-chan error {
	d.Helper()
	in := wire.NewReader(r, wire.MaxServer)
	for {
		f, err := in.Next()
		if err != nil {
			d.Fatal(err)
		}
		if f.Type == wire.TypeErr {
			refusal, err := wire.ParseErr(f.Payload)
			d.Fatalf("refused: %v %v", refusal, err)
		}
		if f.Type == wire.TypeRec {
			break
		}
	}
	out := make(chan error, 1)
	go func() {
		for {
			f, err := in.Next()
			if err == nil && f.Type == wire.TypeErr {
				var refusal *wire.Error
				if refusal, err = wire.ParseErr(f.Payload); err == nil {
					err = refusal
				}
			}
			if err != nil {
				out <- err
				return
			}
		}
	}()
	return out
}
