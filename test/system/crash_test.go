//go:build system

package system

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/stream/wire"
)

// crash kills every process at once, while one file is being encoded and another is half
// sent. Afterwards the first one is finished and the other goes on where it was, each
// once.
func crash(d *deployment) {
	admin := d.admin()
	const seconds, samples = 60, 60 * 44100
	read := func(name string, seconds, seed int) []byte {
		b, err := os.ReadFile(d.noise(name, seconds, seed, tags(name, "Crash")...))
		if err != nil {
			d.Fatal(err)
		}
		return b
	}
	whole := read("half.flac", 3, 61)
	at := admin.create("half.flac", len(whole))
	cut := len(whole) / 2
	if status := admin.patch(at, 0, whole[:cut]); status != http.StatusNoContent {
		d.Fatalf("first half: status %d", status)
	}
	id := admin.sent("encoding.flac", read("encoding.flac", seconds, 62))
	admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_PROCESSING)
	for _, p := range d.procs {
		d.count(p)
	}
	for _, p := range d.procs {
		_ = p.cmd.Process.Kill()
	}
	for _, p := range d.procs {
		_ = p.cmd.Wait() // killed: it says so
	}
	for _, p := range d.procs {
		d.again(p)
	}
	d.awaitAll()

	track := admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE).GetTrackId()
	got := admin.offset(at)
	if got > int64(cut) {
		d.Fatalf("the server has %d bytes of %d that were sent", got, cut)
	}
	if got < int64(cut) {
		d.Errorf("the server has lost bytes that it had acknowledged: %d of %d", got, cut)
	}
	if status := admin.patch(at, got, whole[got:]); status != http.StatusNoContent {
		d.Fatalf("second half: status %d", status)
	}
	admin.reaches(at[len(at)-22:], uploadv1.UploadState_UPLOAD_STATE_COMPLETE)

	d.until(15*time.Second, "four renditions, each once", func() error {
		seen := map[any]int{}
		for _, e := range d.events(admin, "RenditionPublished", "track:"+track) {
			r, _ := e.Payload["rendition"].(map[string]any)
			seen[r["kbps"]]++
		}
		for _, kbps := range []float64{24, 96, 160, 320} {
			if seen[kbps] != 1 {
				return errors.New(fmt.Sprint(seen))
			}
		}
		return nil
	})
	if n := len(d.events(admin, "UploadStaged", "upload:"+id)); n != 1 {
		d.Errorf("%d events UploadStaged", n)
	}
	d.counts(admin)
	if _, n, _, err := admin.open(false).sound(track, wire.Kbps320); err != nil || n != samples {
		d.Errorf("%d samples of %d: %v", n, samples, err)
	}
}

// create begins an upload of so many bytes; at is its path.
func (p *person) create(name string, size int) (at string) {
	p.d.Helper()
	res := p.tus(http.MethodPost, "/upload/v1/files/", nil, map[string]string{
		"Upload-Length": fmt.Sprint(size), "Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte(name)),
	})
	if res.StatusCode != http.StatusCreated {
		p.d.Fatalf("create upload: %s", res.Status)
	}
	return res.Header.Get("Location")
}

func (p *person) patch(at string, offset int64, b []byte) int {
	p.d.Helper()
	return p.tus(http.MethodPatch, at, b, map[string]string{
		"Content-Type": "application/offset+octet-stream", "Upload-Offset": fmt.Sprint(offset),
	}).StatusCode
}

func (p *person) offset(at string) (n int64) {
	p.d.Helper()
	res := p.tus(http.MethodHead, at, nil, nil)
	if _, err := fmt.Sscan(res.Header.Get("Upload-Offset"), &n); err != nil {
		p.d.Fatalf("offset: %s %v", res.Status, err)
	}
	return n
}
