//go:build system

package system

import (
	"bytes"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"time"

	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
)

// sentence is what a person can read: words with a capital and a full stop, and nothing
// of paths, Go or ffmpeg.
var sentence = regexp.MustCompile(`^[A-Z][A-Za-z0-9 ,:;'()"-]+\.$`)

// hostileUploads are files that are not what they say. Each fails by itself, with a
// reason, and whoever comes next is served as before.
func hostileUploads(d *deployment) {
	admin := d.admin()
	secret := d.file("password")
	flac, err := os.ReadFile(d.noise("whole.flac", 8, 1, tags("Cut off", "Hostile")...))
	if err != nil {
		d.Fatal(err)
	}
	random := make([]byte, 200_000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	files := []struct {
		what, name string
		content    []byte
		code       string
	}{
		{"playlist", "list.mp3", []byte("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://" + secret + "\n#EXT-X-ENDLIST\n"), "not_audio"},
		{"concat", "concat.mp3", []byte("ffconcat version 1.0\nfile '" + secret + "'\n"), "not_audio"},
		{"random", "random.ogg", random, "not_audio"},
		{"truncated", "truncated.flac", flac[:len(flac)/3], "truncated"},
		{"claim", "claim.flac", claims(flac), "too_long"},
		{"markup", "page.mp3", []byte("<html><script>alert(1)</script></html>"), "not_audio"},
	}
	ids := map[string]string{}
	for _, f := range files {
		ids[f.what] = admin.sent(f.name, f.content)
	}
	for _, f := range files {
		u := admin.reaches(ids[f.what], uploadv1.UploadState_UPLOAD_STATE_FAILED)
		d.Logf("%s: %s", f.what, u.GetReason())
		if !sentence.MatchString(u.GetReason()) {
			d.Errorf("%s: reason %q is no sentence for a person", f.what, u.GetReason())
		}
		var told []logged
		d.until(15*time.Second, "the event UploadRejected", func() error {
			if told = d.events(admin, "UploadRejected", "upload:"+u.GetId()); len(told) != 1 {
				return errorf("%d events", len(told))
			}
			return nil
		})
		if told[0].Payload["reason"] != u.GetReason() || told[0].Payload["code"] != f.code {
			d.Errorf("%s: the event says %v, want %s", f.what, told[0].Payload, f.code)
		}
	}
	d.traversal(admin)
	d.retried(admin, ids["truncated"])
	if d.process("upload").cmd.ProcessState != nil {
		d.Error("the process has ended")
	}
}

// claims makes a FLAC file say that it holds the most samples that the format can.
func claims(flac []byte) []byte {
	out := bytes.Clone(flac)
	at := bytes.Index(out, []byte("fLaC")) + 8 + 13 // STREAMINFO: the low half of a byte and four more
	out[at] |= 0x0f
	for i := 1; i <= 4; i++ {
		out[at+i] = 0xff
	}
	return out
}

// traversal sends a good file under a bad name: the name leads nowhere, and it plays.
func (d *deployment) traversal(admin *person) {
	d.Helper()
	for i, name := range []string{"../../../../watched/out.flac", "/etc/cron.d/x.flac", `..\..\up.flac`, "a\x00b\r\nSet-Cookie: x.flac", strings.Repeat("é", 500) + ".flac"} {
		content, err := os.ReadFile(d.noise("plain.flac", 1, 20+i))
		if err != nil {
			d.Fatal(err)
		}
		id, status := admin.send(name, content)
		if status >= 400 && status < 500 {
			continue // refused before anything was written
		}
		u := admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
		if strings.ContainsAny(u.GetFileName(), "/\\\r\n\x00") {
			d.Errorf("%q is kept as %q", name, u.GetFileName())
		}
	}
	if _, err := os.Stat(d.file("watched/out.flac")); err == nil {
		d.Error("a file was written where its name led")
	}
}

// retried puts a dead letter back: it fails again, for the same reason.
func (d *deployment) retried(admin *person, id string) {
	d.Helper()
	before := admin.upload(id)
	res, err := admin.Uploads.RetryUpload(d.Context(), &uploadv1.RetryUploadRequest{Id: id})
	if err != nil || res.GetUpload().GetState() != uploadv1.UploadState_UPLOAD_STATE_QUEUED {
		d.Fatalf("retry: %v %v", res.GetUpload().GetState(), err)
	}
	if u := admin.reaches(id, uploadv1.UploadState_UPLOAD_STATE_FAILED); u.GetReason() != before.GetReason() {
		d.Errorf("tried again it fails with %q, before with %q", u.GetReason(), before.GetReason())
	}
}
