package upload_test

import (
	"bytes"
	"cmp"
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/services/upload"
)

// watched is a world with a watched folder.
func watched(t *testing.T) (*world, string) {
	t.Helper()
	w := newWorld(t)
	w.noFP = true
	w.cfg.Watch, w.cfg.Rescan = t.TempDir(), time.Second
	return w, w.cfg.Watch
}

func put(t *testing.T, b []byte, parts ...string) string {
	t.Helper()
	name := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// all are the uploads there are, the oldest first.
func (r *running) all(t *testing.T) []upload.Upload {
	t.Helper()
	p, err := r.store.List(t.Context(), upload.Query{Size: 200})
	if err != nil {
		t.Fatal(err)
	}
	// By time; ids of one millisecond are in no order.
	slices.SortFunc(p.Uploads, func(a, b upload.Upload) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Path, b.Path))
	})
	return p.Uploads
}

// settled waits until a number of uploads are there and none has a job left.
func (r *running) settled(t *testing.T, n int) []upload.Upload {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		us := r.all(t)
		if len(us) == n && !slices.ContainsFunc(us, func(u upload.Upload) bool { return u.Stage != upload.StageNone }) {
			return us
		}
		if time.Now().After(deadline) {
			t.Fatalf("uploads are still %+v", us)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // until the condition holds
	}
}

func picture(t *testing.T) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 200, 200))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * 7)
	}
	img.Set(1, 1, color.White)
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFolder_TakesInOnce(t *testing.T) {
	w, dir := watched(t)
	song := makeAudio(t, "flac", 3, 20, "-metadata", "title=One", "-metadata", "album=Al")
	put(t, song, dir, "Al", "1.flac")
	put(t, makeAudio(t, "mp3", 3, 21, "-metadata", "title=Two"), dir, "Al", "two", "2.mp3")
	put(t, picture(t), dir, "Al", "Cover.PNG")
	put(t, []byte("just text"), dir, "Al", "info.mp3")
	put(t, song, dir, ".hidden", "x.flac")
	outside := put(t, makeAudio(t, "flac", 3, 22), t.TempDir(), "secret.flac")
	if err := os.Symlink(outside, filepath.Join(dir, "link.flac")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo.flac"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := w.start(t)
	us := r.settled(t, 2)
	for _, u := range us {
		if u.State != upload.Complete || u.OwnerID != adminID || u.Source != upload.SourceWatch || len(u.SHA256) != 64 {
			t.Errorf("%+v", u)
		}
	}
	one := w.others.track(us[0].TrackID)
	if one.GetTitle() != "One" || one.GetArtwork().GetWidth() != 200 {
		t.Errorf("track %v", one)
	}
	key := w.others.puts[us[0].TrackID].GetTags().GetFolderKey()
	if len(key) != 32 || strings.Contains(key, "Al") || key == w.others.puts[us[1].TrackID].GetTags().GetFolderKey() {
		t.Errorf("folder key %q", key)
	}
	for _, size := range []string{"160", "320", "640"} {
		if _, err := w.blobs.Stat(t.Context(), "artwork/"+one.GetArtwork().GetId()+"/"+size+".jpg"); err != nil {
			t.Error(err)
		}
	}
	r.stop()

	// A second start, a move and a copy make nothing twice.
	calls := len(w.others.calls)
	if err := os.Rename(filepath.Join(dir, "Al", "1.flac"), filepath.Join(dir, "Al", "one.flac")); err != nil {
		t.Fatal(err)
	}
	r = w.start(t)
	waitScan(t, r)
	if us := r.all(t); len(us) != 2 || us[0].Path != "Al/one.flac" || len(w.others.calls) != calls {
		t.Errorf("after a second start: %+v, %v", us, w.others.calls[calls:])
	}
	put(t, song, dir, "copy.flac")
	us = r.settled(t, 3)
	if us[2].State != upload.Duplicate || us[2].TrackID != us[0].TrackID {
		t.Errorf("copy: %+v", us[2])
	}
}

// waitScan waits until the folder has been looked through.
func waitScan(t *testing.T, r *running) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for r.Scanning() {
		if time.Now().After(deadline) {
			t.Fatal("still scanning")
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // until the condition holds
	}
}

// TestFolder_NewVersions: edited tags renew the track and leave its sound, another sound
// replaces it under new keys.
func TestFolder_NewVersions(t *testing.T) {
	w, dir := watched(t)
	name := put(t, makeAudio(t, "flac", 3, 23, "-metadata", "title=Old"), dir, "a.flac")
	r := w.start(t)
	first := r.settled(t, 1)[0]
	objects := w.others.track(first.TrackID).GetRenditions()

	put(t, makeAudio(t, "flac", 3, 23, "-metadata", "title=New title"), name)
	second := r.settled(t, 2)[1]
	track := w.others.track(first.TrackID)
	if second.State != upload.Complete || second.TrackID != first.TrackID || track.GetTitle() != "New title" {
		t.Errorf("%+v, %v", second, track)
	}
	if got := track.GetRenditions(); len(got) != 4 || got[0].GetObjectId() != objects[0].GetObjectId() || len(w.others.keys) != 4 {
		t.Errorf("renditions were made anew: %v", got)
	}

	put(t, makeAudio(t, "flac", 4, 24, "-metadata", "title=New sound"), name)
	third := r.settled(t, 3)[2]
	track = w.others.track(first.TrackID)
	if third.State != upload.Complete || third.TrackID != first.TrackID || track.GetDurationMs() != 4000 {
		t.Errorf("%+v, %v", third, track)
	}
	for _, x := range track.GetRenditions() {
		if slices.ContainsFunc(objects, func(o *metadatav1.Rendition) bool { return o.GetObjectId() == x.GetObjectId() }) {
			t.Errorf("an object of the old sound is still there: %v", x)
		}
		if k := w.others.keys[x.GetObjectId()]; k.GetKid() != 3 {
			t.Errorf("key generation %d, want 3", k.GetKid())
		}
	}
	retired, err := r.store.StaleObjects(t.Context(), upload.ObjectRetired, time.Now().Add(time.Hour), 10)
	if err != nil || len(retired) != 4 {
		t.Errorf("retired: %v, %v", retired, err)
	}
	r.stop()
	later := time.Now().Add(25 * time.Hour)
	w.clock = func() time.Time { return later }
	w.start(t)
	deadline := time.Now().Add(30 * time.Second)
	for _, o := range retired {
		for {
			if _, err := w.blobs.Stat(t.Context(), "objects/"+o.ID); err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("a retired object is still stored")
			}
			time.Sleep(5 * time.Millisecond) //nolint:forbidigo // until the condition holds
		}
	}
}

// TestFolder_ChangesWhileInWork: a file that changes between its tags and its decode
// comes in as what it is in the end.
func TestFolder_ChangesWhileInWork(t *testing.T) {
	w, dir := watched(t)
	hold, held := make(chan struct{}), make(chan struct{}, 100)
	w.others.before = func(ctx context.Context, call string) error {
		if strings.HasPrefix(call, "PutTrack") {
			held <- struct{}{}
			select {
			case <-hold:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	name := put(t, makeAudio(t, "flac", 3, 25, "-metadata", "title=Old"), dir, "a.flac")
	r := w.start(t)
	<-held
	put(t, makeAudio(t, "flac", 5, 26, "-metadata", "title=New title"), name)
	close(hold)
	deadline := time.Now().Add(time.Minute)
	for {
		us := r.all(t)
		last := us[len(us)-1]
		if track := w.others.track(last.TrackID); last.State == upload.Complete && track.GetDurationMs() == 5000 {
			if track.GetTitle() != "New title" || len(us) > 2 {
				t.Errorf("%v, %+v", track, us)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", us)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // until the condition holds
	}
}

func TestNew_RefusesItsOwnData(t *testing.T) {
	w := newWorld(t)
	w.cfg.Watch = w.dir
	if _, err := w.try(t); err == nil || !strings.Contains(err.Error(), "own data") {
		t.Errorf("error %v", err)
	}
	w.cfg.Watch = filepath.Join(w.dir, "nothing")
	if _, err := w.try(t); err == nil {
		t.Error("a folder that is not there was taken")
	}
}
