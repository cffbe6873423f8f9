package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/services/upload"
)

const bucketToken = "a secret of sixteen"

// inbox is a bucket on a disk, which may be away.
type inbox struct {
	*localblob.Store
	mu   sync.Mutex
	away error
}

func (b *inbox) Stat(ctx context.Context, key string) (blob.Info, error) {
	b.mu.Lock()
	err := b.away
	b.mu.Unlock()
	if err != nil {
		return blob.Info{}, err
	}
	return b.Store.Stat(ctx, key)
}

func (b *inbox) put(t *testing.T, key string, body []byte) {
	t.Helper()
	if err := b.Put(t.Context(), key, bytes.NewReader(body), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (b *inbox) set(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = err
}

func bucketWorld(t *testing.T) (*world, *inbox) {
	t.Helper()
	w := newWorld(t)
	store, err := localblob.Open(filepath.Join(w.dir, "inbox"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b := &inbox{Store: store}
	w.inbox = b
	w.bucket = upload.BucketConfig{
		Name: "music", Prefix: "in/", Token: []byte(bucketToken), Rescan: time.Hour,
		Owner: func(context.Context) (string, error) { return artistID, nil },
	}
	return w, b
}

func created(bucket, key string) string {
	return fmt.Sprintf(`{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":%q},"object":{"key":%q}}}`, bucket, key)
}

func (r *running) notify(t *testing.T, token string, records ...string) int {
	t.Helper()
	res := r.do(t, as(""), http.MethodPost, "/upload/v1/bucket", []byte(`{"Records":[`+strings.Join(records, ",")+`]}`),
		map[string]string{"Authorization": "Bearer " + token})
	return res.StatusCode
}

// TestBucket_Messages: what is told, and is there, becomes tracks: each object once.
func TestBucket_Messages(t *testing.T) {
	w, b := bucketWorld(t)
	r := w.start(t)
	b.put(t, "in/a.flac", makeAudio(t, "flac", 3, 1, "-metadata", "title=From a bucket"))
	b.put(t, "in/notes.txt", []byte("these are no sound but words"))
	b.put(t, "elsewhere/b.flac", makeAudio(t, "flac", 3, 2))
	records := []string{
		created("music", "in/a.flac"), created("music", "in/notes.txt"), created("music", "elsewhere/b.flac"),
		created("another", "in/a.flac"), created("music", "in/gone.flac"), created("music", "in/../elsewhere/b.flac"),
	}
	for range 3 {
		if code := r.notify(t, bucketToken, records...); code != http.StatusNoContent {
			t.Fatalf("answered %d", code)
		}
	}
	list := r.all(t)
	if len(list) != 1 || list[0].Source != upload.SourceBucket || list[0].OwnerID != artistID || list[0].FileName != "a.flac" {
		t.Fatalf("uploads %+v", list)
	}
	u := r.until(t, list[0].ID, in(upload.Complete, upload.Failed))
	if u.State != upload.Complete || w.others.track(u.TrackID).GetTitle() != "From a bucket" {
		t.Errorf("%+v", u)
	}
	// Other bytes under the same key are another upload.
	b.put(t, "in/a.flac", makeAudio(t, "flac", 4, 3))
	if code := r.notify(t, bucketToken, created("music", "in/a.flac")); code != http.StatusNoContent || len(r.all(t)) != 2 {
		t.Errorf("a new version: answered %d, %d uploads", code, len(r.all(t)))
	}
}

// TestBucket_Senders: nobody is believed without the secret, and nothing malformed is taken.
func TestBucket_Senders(t *testing.T) {
	w, b := bucketWorld(t)
	b.put(t, "in/a.flac", makeAudio(t, "flac", 3, 1))
	r := w.start(t)
	for _, token := range []string{"", "wrong", bucketToken + "x", bucketToken[1:]} {
		if code := r.notify(t, token, created("music", "in/a.flac")); code != http.StatusUnauthorized {
			t.Errorf("token %q: answered %d", token, code)
		}
	}
	if code := r.notify(t, bucketToken, `{`); code != http.StatusBadRequest {
		t.Errorf("malformed: answered %d", code)
	}
	if res := r.do(t, as(""), http.MethodPost, "/upload/v1/bucket?token="+strings.ReplaceAll(bucketToken, " ", "+"), []byte(`{"Records":[]}`), nil); res.StatusCode != http.StatusNoContent {
		t.Errorf("the secret in the URL: %s", res.Status)
	}
	b.set(errors.New("away"))
	if code := r.notify(t, bucketToken, created("music", "in/a.flac")); code != http.StatusServiceUnavailable {
		t.Errorf("bucket away: answered %d, want that it is sent again", code)
	}
	none := newWorld(t).start(t)
	if code := none.notify(t, "", created("music", "in/a.flac")); code != http.StatusUnauthorized {
		t.Errorf("without a bucket: answered %d", code)
	}
}

// TestBucket_Rescan: what was told to nobody is found by listing, and what was noted before
// a crash is brought in after it.
func TestBucket_Rescan(t *testing.T) {
	w, b := bucketWorld(t)
	r := w.start(t)
	b.put(t, "in/a.flac", makeAudio(t, "flac", 3, 1))
	b.set(nil)
	r.eventually(t, func() error {
		if code := r.notify(t, bucketToken, created("music", "in/a.flac")); code != http.StatusNoContent {
			return fmt.Errorf("answered %d", code)
		}
		return nil
	})
	r.stop() // perhaps before the bytes are here
	b.put(t, "in/deep/b.flac", makeAudio(t, "flac", 3, 2))
	b.put(t, "out/c.flac", makeAudio(t, "flac", 3, 3))
	r = w.start(t)
	r.eventually(t, func() error {
		list := r.all(t)
		for _, u := range list {
			if u.State != upload.Complete {
				return fmt.Errorf("%s is %v", u.FileName, u.State)
			}
		}
		if len(list) != 2 {
			return fmt.Errorf("%d uploads, want 2", len(list))
		}
		return nil
	})
}

// TestBucket_ListedAgain: a listing that fails, as at a start while the service that knows
// the owner is not there yet, is not the last one of the hour.
func TestBucket_ListedAgain(t *testing.T) {
	w, b := bucketWorld(t)
	var asked atomic.Int32
	w.bucket.Owner = func(context.Context) (string, error) {
		if asked.Add(1) <= 2 {
			return "", errors.New("nobody is there")
		}
		return artistID, nil
	}
	b.put(t, "in/early.flac", makeAudio(t, "flac", 2, 7, "-metadata", "title=Early"))
	r := w.start(t)
	r.eventually(t, func() error {
		if n := len(r.all(t)); n != 1 {
			return fmt.Errorf("%d uploads", n)
		}
		return nil
	})
}
