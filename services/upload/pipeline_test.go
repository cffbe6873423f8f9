package upload_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/services/upload"
)

// sound is a lavfi source: notes that change twice a second, so that a fingerprint has
// something to hold on to.
func sound(seconds, seed int) string {
	return fmt.Sprintf("aevalsrc=exprs='0.3*sin(2*PI*t*(220+110*mod(floor(t*2)*%d+%d,13)))+0.1*sin(2*PI*t*(330+55*mod(floor(t*3)*%d,7)))':d=%d:s=44100",
		seed*2+3, seed, seed+5, seconds)
}

// create begins a tus upload and returns its path.
func (r *running) create(t testing.TB, who identity.Identity, name string, size int) *http.Response {
	t.Helper()
	return r.do(t, who, http.MethodPost, "/upload/v1/files/", nil, map[string]string{
		"Upload-Length":   strconv.Itoa(size),
		"Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte(name)),
	})
}

func (r *running) patch(t testing.TB, who identity.Identity, at string, offset int, body []byte) *http.Response {
	t.Helper()
	return r.do(t, who, http.MethodPatch, at, body, map[string]string{
		"Upload-Offset": strconv.Itoa(offset), "Content-Type": "application/offset+octet-stream",
	})
}

// send uploads a file whole and returns the upload's id.
func (r *running) send(t testing.TB, who identity.Identity, name string, b []byte) string {
	t.Helper()
	res := r.create(t, who, name, len(b))
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("create: %s", res.Status)
	}
	at := res.Header.Get("Location")
	if res := r.patch(t, who, at, 0, b); res.StatusCode != http.StatusNoContent {
		t.Fatalf("patch: %s", res.Status)
	}
	return path.Base(at)
}

func TestPipeline_FromFileToRenditions(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	uploadID := r.send(t, artist(), "../../etc/A tune.flac", makeAudio(t, "flac", 6, 1, "-metadata", "title=A tune", "-metadata", "artist=Someone"))
	u := r.until(t, uploadID, in(upload.Complete, upload.Failed))
	if u.State != upload.Complete || u.FileName != "A tune.flac" || u.Progress != 1000 {
		t.Fatalf("%+v", u)
	}
	track := w.others.track(u.TrackID)
	if track.GetTitle() != "A tune" || track.GetOwnerId() != artistID || track.GetDurationMs() != 6000 || track.GetGainTrackQ8() == 0 {
		t.Errorf("track %v", track)
	}
	rates := map[uint32]uint64{}
	for _, x := range track.GetRenditions() {
		rates[x.GetKbps()] = x.GetTotalSamples()
		key := w.others.keys[x.GetObjectId()]
		if key == nil || key.GetTrackId() != u.TrackID || key.GetKbps() != x.GetKbps() || key.GetKid() != 1 {
			t.Errorf("key of %s is %v", x.GetObjectId(), key)
		}
		info, err := w.blobs.Stat(t.Context(), "objects/"+x.GetObjectId())
		if err != nil || uint64(info.Size) != x.GetBytes() {
			t.Errorf("object %s: %+v, %v", x.GetObjectId(), info, err)
		}
	}
	if diff := cmp.Diff(map[uint32]uint64{24: 132300, 96: 264600, 160: 264600, 320: 264600}, rates); diff != "" {
		t.Error(diff)
	}
	// What is left is cleared away once the upload is told to be complete.
	r.eventually(t, func() error {
		if _, err := w.blobs.Stat(t.Context(), "staging/"+uploadID); err == nil {
			return errors.New("the original is still staged")
		}
		for _, dir := range []string{"partial", "work"} {
			if names, err := os.ReadDir(filepath.Join(w.dir, "upload", dir)); err != nil || len(names) > 0 {
				return fmt.Errorf("%s holds %v, %w", dir, names, err)
			}
		}
		return nil
	})
	if n := len(w.others.drawn); n != 4 {
		t.Errorf("%d keys were drawn", n)
	}
}

// remoteBlobs is a store whose objects are no files of this machine.
type remoteBlobs struct{ blob.Store }

func TestPipeline_RemoteBlobs(t *testing.T) {
	w := newWorld(t)
	w.noFP, w.blobs, w.cfg.KeepOriginals = true, remoteBlobs{w.blobs}, true
	r := w.start(t)
	song := makeAudio(t, "flac", 3, 50)
	u := r.until(t, r.send(t, artist(), "a.flac", song), in(upload.Complete, upload.Failed))
	if u.State != upload.Complete || len(w.others.track(u.TrackID).GetRenditions()) != 4 {
		t.Errorf("%+v", u)
	}
	if info, err := w.blobs.Stat(t.Context(), "staging/"+u.ID); err != nil || info.Size != int64(len(song)) {
		t.Errorf("the original was not kept: %+v, %v", info, err)
	}
}
