package upload_test

import (
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/services/upload"
)

// TestDiskFull: uploads are refused in words while the disk is full, what is queued waits
// without an attempt, and all goes on when there is space.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	w.noFP = true
	var full atomic.Bool
	w.space = func() error {
		if full.Load() {
			return fault.ErrDiskFull
		}
		return nil
	}
	full.Store(true)
	r := w.start(t)
	song := makeAudio(t, "flac", 1, 40)
	res := r.do(t, artist(), http.MethodPost, "/upload/v1/files/", nil, map[string]string{"Upload-Length": "100"})
	if res.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("create: %s", res.Status)
	}
	full.Store(false)
	uploadID := r.send(t, artist(), "x.flac", song)
	if u := r.until(t, uploadID, in(upload.Complete)); u.Attempts != 0 {
		t.Errorf("%+v", u)
	}
}

// TestCover_LeftOut: a picture that is no cover costs the track nothing but the cover,
// and an event says why.
func TestCover_LeftOut(t *testing.T) {
	w := newWorld(t)
	w.noFP = true
	r := w.start(t)
	uploadID := r.send(t, artist(), "x.flac", withPicture(t, makeAudio(t, "flac", 1, 41)))
	r.until(t, uploadID, in(upload.Complete))
	var reasons []string
	for _, e := range r.events(t, uploadID) {
		m, err := e.GetPayload().UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := m.(*eventv1.IngestStepFailed); ok {
			reasons = append(reasons, f.GetStep()+": "+f.GetReason())
		}
	}
	if len(reasons) != 1 || reasons[0] != "cover: The cover is left out: it is too small or too narrow." {
		t.Errorf("%q", reasons)
	}
}

// TestJanitor_StartFinishes: what a process before this one had received whole is
// finished at the start.
func TestJanitor_StartFinishes(t *testing.T) {
	w := newWorld(t)
	w.noFP = true
	inner := w.blobs
	w.blobs = failingBlobs{inner}
	song := makeAudio(t, "flac", 1, 42)
	first := w.build(t)
	at := first.create(t, artist(), "x.flac", len(song)).Header.Get("Location")
	if res := first.patch(t, artist(), at, 0, song); res.StatusCode != http.StatusInternalServerError {
		t.Fatalf("%s", res.Status)
	}
	first.stop()
	w.blobs = inner
	begin := time.Now()
	r := w.start(t)
	r.until(t, path.Base(at), in(upload.Complete))
	if took := time.Since(begin); took > 25*time.Second {
		t.Errorf("after %s", took)
	}
}

// withPicture puts a picture of 8 by 8 pixels into a FLAC file.
func withPicture(t *testing.T, flac []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.flac"), filepath.Join(dir, "out.flac")
	err := os.WriteFile(in, flac, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-i", in, "-f", "lavfi", "-i", "color=c=red:s=8x8:d=1", "-map", "0:a", "-map", "1:v",
		"-frames:v", "1", "-c:a", "copy", "-c:v", "png", "-disposition:v", "attached_pic", out).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
