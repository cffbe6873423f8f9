//go:build system && fault

package system

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/segue-music/segue/stream/wire"

	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
)

// TestFault_KillIngest kills segue at chance moments of the ingest of one file, from the
// first byte to the last rendition: in the end it is there once, whole, and nothing is
// left over.
func TestFault_KillIngest(t *testing.T) {
	for name, run := range map[string]func(*ingestKills) string{"tus": (*ingestKills).tus, "watch": (*ingestKills).watch} {
		t.Run(name, func(t *testing.T) {
			d := single(t, append([]string{"-upload.watch={dir}/watched", "-upload.settle=100ms", "-upload.workers=1"}, unlimited...)...)
			d.login()
			k := &ingestKills{deployment: d, admin: d.admin(), rand: rand.New(rand.NewPCG(4, uint64(len(name))))}
			begin := time.Now()
			d.must("upload", d.noise("measure.flac", 15, 70, tags("Measure", "Kills")...), "--wait")
			k.whole = time.Since(begin)
			title := run(k)
			k.after(title)
		})
	}
}

type ingestKills struct {
	*deployment
	admin *person
	rand  *rand.Rand
	whole time.Duration // what an undisturbed ingest takes
	kills int
	ready []time.Duration
}

func (k *ingestKills) wanted() int {
	if *fullFault {
		return 20
	}
	return 8
}

// kill waits for a chance moment of the ingest, and kills.
func (k *ingestKills) kill(most time.Duration) {
	k.Helper()
	<-time.After(time.Duration(k.rand.Int64N(int64(most))))
	k.kills++
	k.ready = append(k.ready, k.killed())
}

// trickle gives its bytes slowly, so that a kill meets a request that is under way.
type trickle struct {
	left []byte
	ctx  context.Context
}

func (r *trickle) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(10 * time.Millisecond):
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
	n := copy(p[:min(len(p), 16<<10)], r.left)
	r.left = r.left[n:]
	return n, nil
}

func (k *ingestKills) tus() string {
	content := k.encoded("tus.flac", 15, 71, tags("Killed by tus", "Kills")...)
	at := k.admin.create("tus.flac", len(content))
	var sure int64
	for done := false; !done; {
		offset := k.admin.offset(at)
		if offset < sure {
			k.Fatalf("%d bytes of %d that were acknowledged", offset, sure)
		}
		sure = offset
		end := make(chan bool, 1)
		ctx, cancel := context.WithCancel(k.Context())
		go func() {
			body := io.Reader(&trickle{content[offset:], ctx})
			req, err := http.NewRequestWithContext(ctx, http.MethodPatch, k.URL+at, body)
			if err != nil {
				end <- false
				return
			}
			req.ContentLength = int64(len(content)) - offset
			for key, v := range map[string]string{"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Offset": fmt.Sprint(offset)} {
				req.Header.Set(key, v)
			}
			res, err := k.admin.Do(req)
			if err == nil {
				_ = res.Body.Close()
			}
			end <- err == nil && res.StatusCode == http.StatusNoContent
		}()
		if k.kills < k.wanted()/2 {
			k.kill(2 * time.Second)
		}
		done = <-end || k.admin.offset(at) == int64(len(content))
		cancel()
	}
	for k.kills < k.wanted() {
		k.kill(k.whole)
	}
	id := at[len(at)-22:]
	k.admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
	k.until(20*time.Second, "one event UploadStaged", func() error {
		if n := len(k.events(k.admin, "UploadStaged", "upload:"+id)); n != 1 {
			return errorf("%d events", n)
		}
		return nil
	})
	return "Killed by tus"
}

func (k *ingestKills) watch() string {
	// It comes into the folder as people copy: bit by bit, and the kills begin with it.
	content := k.encoded("watch.flac", 15, 72, tags("Killed in the folder", "Kills")...)
	f, err := os.Create(k.file("watched/watch.flac"))
	if err != nil {
		k.Fatal(err)
	}
	if _, err := f.Write(content[:len(content)/2]); err != nil {
		k.Fatal(err)
	}
	k.kill(time.Second)
	if _, err := f.Write(content[len(content)/2:]); err != nil {
		k.Fatal(err)
	}
	if err := f.Close(); err != nil {
		k.Fatal(err)
	}
	for k.kills < k.wanted() {
		k.kill(k.whole)
	}
	return "Killed in the folder"
}

// after looks at what there is when all is done.
func (k *ingestKills) after(title string) {
	k.Helper()
	if err := k.admin.renew(); err != nil {
		k.Fatal(err)
	}
	var track listed
	k.until(120*time.Second, "the track, once", func() error {
		var found []listed
		for _, tr := range k.tracks() {
			if tr.Title == title {
				found = append(found, tr)
			}
		}
		if len(found) != 1 || found[0].State != "complete" {
			return errorf("%+v", found)
		}
		track = found[0]
		return nil
	})
	if n := len(k.tracks()); n != 2 {
		k.Errorf("%d tracks of two files", n)
	}
	k.until(20*time.Second, "four renditions, each once", func() error {
		seen := map[any]int{}
		for _, e := range k.events(k.admin, "RenditionPublished", "track:"+track.ID) {
			r, _ := e.Payload["rendition"].(map[string]any)
			seen[r["kbps"]]++
		}
		if len(seen) != 4 || seen[24.0]+seen[96.0]+seen[160.0]+seen[320.0] != 4 {
			return errorf("%v", seen)
		}
		return nil
	})
	if _, n, _, err := k.admin.open(false).sound(track.ID, wire.Kbps320); err != nil || n != 15*44100 {
		k.Errorf("%d samples: %v", n, err)
	}
	most := len(k.blobs())
	var left []string
	k.until(4*time.Minute, "the end of what attempts left behind", func() error {
		left = nil
		for _, at := range []string{"data/upload/work/*", "data/upload/partial/*", "data/blobs/tmp/*", "data/blobs/objects/staging/*"} {
			names, err := filepath.Glob(k.file(at))
			if err != nil {
				return err
			}
			left = append(left, names...)
		}
		if n := len(k.blobs()); n != 8 || len(left) > 0 {
			return errorf("%d objects of two tracks, and %v", n, left)
		}
		return nil
	})
	median, longest := medianMax(k.ready)
	k.Logf("%d kills within one ingest (%s undisturbed): complete once, %d objects of attempts swept, to ready p50 %s max %s",
		k.kills, k.whole.Round(time.Millisecond), most-8, median, longest)
}
