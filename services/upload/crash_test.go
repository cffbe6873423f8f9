package upload_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/services/upload"
)

// crashPoint holds the service, once, at the nth time that something named so happens,
// until it is stopped there.
type crashPoint struct {
	mu      sync.Mutex
	name    string
	nth     int
	reached chan struct{}
	done    bool
}

func (c *crashPoint) at(ctx context.Context, name string) error {
	c.mu.Lock()
	if c.done || !strings.HasPrefix(name, c.name) {
		c.mu.Unlock()
		return nil
	}
	if c.nth--; c.nth > 0 {
		c.mu.Unlock()
		return nil
	}
	c.done = true
	c.mu.Unlock()
	close(c.reached)
	<-ctx.Done()
	return ctx.Err()
}

// crashingBlobs stops before or after a put.
type crashingBlobs struct {
	blob.Store
	before, after func(context.Context, string) error
}

func (b crashingBlobs) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) error {
	if err := b.before(ctx, "Put "+key); err != nil {
		return err
	}
	if err := b.Store.Put(ctx, key, r, opt); err != nil {
		return err
	}
	return b.after(ctx, "Put "+key)
}

func (b crashingBlobs) OpenFile(ctx context.Context, key string) (*os.File, error) {
	if err := b.before(ctx, "OpenFile"); err != nil {
		return nil, err
	}
	return b.Store.(blob.Filer).OpenFile(ctx, key)
}

// TestCrash_AtEachStep stops the service before and after every effect outside its store,
// begins anew, and expects what an undisturbed run gives: each rendition published once
// to the end, under a key that no other object ever had, and nothing left over.
func TestCrash_AtEachStep(t *testing.T) {
	song := makeAudio(t, "flac", 4, 2, "-metadata", "title=T")
	for _, tt := range []struct {
		name string
		nth  int
	}{
		{"PutTrack", 1}, {"OpenFile", 1}, {"SetTrackFacts", 1}, {"Put objects/", 1}, {"Put objects/", 3},
		{"PutKey", 1}, {"PutKey 160", 1}, {"PublishRendition", 1}, {"PublishRendition 320", 1}, {"PublishRendition 24", 1},
	} {
		for _, when := range []string{"before", "after"} {
			if tt.name == "OpenFile" && when == "after" {
				continue
			}
			t.Run(strings.ReplaceAll(tt.name, " ", "_")+"_"+when+"_"+string(rune('0'+tt.nth)), func(t *testing.T) {
				t.Parallel()
				crashAndRecover(t, song, tt.name, tt.nth, when)
			})
		}
	}
}

func crashAndRecover(t *testing.T, song []byte, name string, nth int, when string) {
	w := newWorld(t)
	w.noFP = true
	never := func(context.Context, string) error { return nil }
	point := &crashPoint{name: name, nth: nth, reached: make(chan struct{})}
	inner := w.blobs
	if when == "before" {
		w.others.before = point.at
		w.blobs = crashingBlobs{inner, point.at, never}
	} else {
		w.others.after = point.at
		w.blobs = crashingBlobs{inner, never, point.at}
	}
	first := w.start(t)
	uploadID := first.send(t, artist(), "t.flac", song)
	<-point.reached
	first.stop()
	w.others.mu.Lock()
	w.others.before, w.others.after = nil, nil
	w.others.mu.Unlock()
	w.blobs = inner

	r := w.start(t)
	u := r.until(t, uploadID, in(upload.Complete, upload.Failed))
	if u.State != upload.Complete {
		t.Fatalf("%+v", u)
	}
	track := w.others.track(u.TrackID)
	if n := len(track.GetRenditions()); n != 4 {
		t.Errorf("%d renditions", n)
	}
	for _, x := range track.GetRenditions() {
		if _, err := w.blobs.Stat(t.Context(), "objects/"+x.GetObjectId()); err != nil {
			t.Errorf("%d kbps: %v", x.GetKbps(), err)
		}
	}
	// Also the keys of objects that were sealed and never published are all different.
	drawn := slices.Clone(w.others.drawn)
	slices.Sort(drawn)
	if len(slices.Compact(drawn)) != len(w.others.drawn) {
		t.Error("a key was drawn twice")
	}
	if n := len(w.others.keys); n != len(w.others.drawn) {
		t.Errorf("%d objects for %d keys", n, len(w.others.drawn))
	}
	r.stop()
	assertNoKeys(t, w)
}

// assertNoKeys looks for content keys in everything that the service keeps.
func assertNoKeys(t *testing.T, w *world) {
	t.Helper()
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, k := range w.others.keys {
			if bytes.Contains(b, k.GetBaseKey()) {
				t.Errorf("%s holds a content key", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
