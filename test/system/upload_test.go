//go:build system

package system

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"

	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
)

// noise makes a file of so many seconds; the seed is what tells two from each other.
func (d *deployment) noise(name string, seconds, seed int, more ...string) (path string) {
	d.Helper()
	path = d.file(name)
	args := append([]string{
		"-v", "error", "-y", "-f", "lavfi", "-i", fmt.Sprintf("anoisesrc=r=44100:a=0.3:c=pink:seed=%d:d=%d", seed, seconds),
	}, more...)
	if b, err := exec.Command("ffmpeg", append(args, path)...).CombinedOutput(); err != nil {
		d.Fatalf("ffmpeg: %v\n%s", err, b)
	}
	return path
}

func tags(title, album string) []string {
	return []string{"-metadata", "title=" + title, "-metadata", "artist=The Testers", "-metadata", "album=" + album}
}

// shared is the track of a title that scenarios share, of 45 seconds: more than a server
// sends ahead.
func (d *deployment) shared(title string) listed {
	d.Helper()
	if t, ok := d.made[title]; ok {
		return t
	}
	d.must("upload", d.noise(title+".flac", 45, 100+len(d.made), tags(title, "Shared")...), "--wait")
	d.made[title] = d.track(title)
	return d.made[title]
}

// tus sends one request of the tus protocol.
func (p *person) tus(method, path string, body []byte, header map[string]string) *http.Response {
	p.d.Helper()
	req, err := http.NewRequestWithContext(p.Context(), method, p.d.URL+path, bytes.NewReader(body))
	if err != nil {
		p.d.Fatal(err)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := p.Do(req)
	if err != nil {
		p.d.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res
}

// send uploads bytes under a file name by the tus protocol, in one request.
func (p *person) send(name string, content []byte) (id string, status int) {
	p.d.Helper()
	res := p.tus(http.MethodPost, "/upload/v1/files/", content, map[string]string{
		"Content-Type": "application/offset+octet-stream", "Upload-Length": fmt.Sprint(len(content)),
		"Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte(name)),
	})
	at := res.Header.Get("Location")
	return at[strings.LastIndex(at, "/")+1:], res.StatusCode
}

// sent is send for what has to be taken.
func (p *person) sent(name string, content []byte) string {
	p.d.Helper()
	id, status := p.send(name, content)
	if status != http.StatusCreated || id == "" {
		p.d.Fatalf("upload of %q: status %d", name, status)
	}
	return id
}

// upload is the present state of an upload.
func (p *person) upload(id string) *uploadv1.Upload {
	p.d.Helper()
	res, err := p.Uploads.GetUpload(p.Context(), &uploadv1.GetUploadRequest{Id: id})
	if err != nil {
		p.d.Fatal(err)
	}
	return res.GetUpload()
}

// reaches waits for a state of an upload.
func (p *person) reaches(id string, state uploadv1.UploadState) *uploadv1.Upload {
	p.d.Helper()
	var u *uploadv1.Upload
	p.d.until(90*time.Second, state.String(), func() error {
		if u = p.upload(id); u.GetState() != state {
			return errorf("%s is %s %s: %s", u.GetFileName(), u.GetState(), u.GetStep(), u.GetReason())
		}
		return nil
	})
	return u
}
