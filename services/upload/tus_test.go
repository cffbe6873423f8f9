package upload_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/upload"
)

func other() identity.Identity { return as(otherID, authv1.Role_ROLE_ARTIST) }

// idle is a world whose service receives and does not work.
func idle(t *testing.T, change func(*upload.Config)) *running {
	t.Helper()
	w := newWorld(t)
	if change != nil {
		change(&w.cfg)
	}
	r := w.build(t)
	t.Cleanup(r.stop)
	return r
}

func offset(t *testing.T, r *running, who identity.Identity, at string) string {
	t.Helper()
	res := r.do(t, who, http.MethodHead, at, nil, nil)
	if res.StatusCode != http.StatusOK {
		return res.Status
	}
	return res.Header.Get("Upload-Offset")
}

func TestTus_Resume(t *testing.T) {
	w := newWorld(t)
	r := w.build(t)
	body := bytes.Repeat([]byte("0123456789"), 1000)
	res := r.create(t, artist(), "x.flac", len(body))
	at := res.Header.Get("Location")
	if res.StatusCode != http.StatusCreated || !strings.HasPrefix(at, "/upload/v1/files/") {
		t.Fatalf("%s, Location %q", res.Status, at)
	}
	// The connection ends in the middle; what came is kept.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, rpctest.URL+at, io.MultiReader(bytes.NewReader(body[:4000]), cut{}))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"} {
		req.Header.Set(k, v)
	}
	if res, err := r.server.As(artist()).Do(req); err == nil {
		_ = res.Body.Close()
	}
	if got := offset(t, r, artist(), at); got != "4000" {
		t.Fatalf("offset after the cut: %s", got)
	}
	if res := r.patch(t, artist(), at, 3999, body[3999:]); res.StatusCode != http.StatusConflict {
		t.Errorf("wrong offset: %s", res.Status)
	}
	r.stop()

	// After a restart, also when bytes beyond the last checkpoint were on the disk.
	partial := filepath.Join(w.dir, "upload", "partial", path.Base(at))
	f, err := os.OpenFile(partial, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("torn"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r = w.build(t)
	defer r.stop()
	if got := offset(t, r, artist(), at); got != "4000" {
		t.Fatalf("offset after the restart: %s", got)
	}
	if res := r.patch(t, artist(), at, 4000, body[4000:]); res.StatusCode != http.StatusNoContent || res.Header.Get("Upload-Offset") != "10000" {
		t.Fatalf("rest: %s", res.Status)
	}
	o, err := w.blobs.Open(t.Context(), "staging/"+path.Base(at))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got, err := io.ReadAll(o); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes are staged, %v", len(got), err)
	}
	if _, err := os.Stat(partial); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the partial file is still there: %v", err)
	}
	if got := offset(t, r, artist(), at); got != "10000" {
		t.Errorf("offset at the end: %s", got)
	}
}

// cut is a connection that ends.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestTus_LostBytes: a disk that lost bytes makes the client begin again, with no hole.
func TestTus_LostBytes(t *testing.T) {
	r := idle(t, nil)
	at := r.create(t, artist(), "x", 8).Header.Get("Location")
	r.patch(t, artist(), at, 0, []byte("1234"))
	if err := os.Truncate(filepath.Join(r.w.dir, "upload", "partial", path.Base(at)), 2); err != nil {
		t.Fatal(err)
	}
	if res := r.patch(t, artist(), at, 4, []byte("5678")); res.StatusCode != http.StatusConflict {
		t.Errorf("%s", res.Status)
	}
	if got := offset(t, r, artist(), at); got != "0" {
		t.Errorf("offset %s", got)
	}
	if res := r.patch(t, artist(), at, 0, []byte("12345678")); res.StatusCode != http.StatusNoContent {
		t.Errorf("%s", res.Status)
	}
}

// TestTus_OwnerOnEveryVerb: another's upload is not found, whatever is asked of it.
func TestTus_OwnerOnEveryVerb(t *testing.T) {
	r := idle(t, nil)
	at := r.create(t, artist(), "x", 8).Header.Get("Location")
	for _, method := range []string{http.MethodHead, http.MethodPatch, http.MethodDelete, http.MethodGet, http.MethodPut, http.MethodPost} {
		for name, who := range map[string]identity.Identity{
			"other": other(), "admin": admin(), "listener": as(artistID, authv1.Role_ROLE_LISTENER),
			"nobody": {}, "service": {Target: "playback"},
		} {
			res := r.do(t, who, method, at, []byte("12345678"), map[string]string{
				"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream",
			})
			if res.StatusCode < 400 {
				t.Errorf("%s by %s: %s", method, name, res.Status)
			}
			if (name == "other" || name == "admin") && (method == http.MethodHead || method == http.MethodPatch || method == http.MethodDelete) &&
				res.StatusCode != http.StatusNotFound {
				t.Errorf("%s by %s: %s, want 404", method, name, res.Status)
			}
		}
	}
	if got := offset(t, r, artist(), at); got != "0" {
		t.Errorf("offset %s", got)
	}
	if res := r.do(t, artist(), http.MethodGet, at, nil, nil); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("download: %s", res.Status)
	}
	// Termination is the owner's, as long as bytes are coming.
	if res := r.do(t, artist(), http.MethodDelete, at, nil, nil); res.StatusCode != http.StatusNoContent {
		t.Errorf("terminate: %s", res.Status)
	}
	if got := offset(t, r, artist(), at); !strings.HasPrefix(got, "404") {
		t.Errorf("after termination: %s", got)
	}
	if names, err := os.ReadDir(filepath.Join(r.w.dir, "upload", "partial")); err != nil || len(names) > 0 {
		t.Errorf("left over: %v, %v", names, err)
	}
	done := r.create(t, artist(), "x", 2).Header.Get("Location")
	r.patch(t, artist(), done, 0, []byte("ab"))
	if res := r.do(t, artist(), http.MethodDelete, done, nil, nil); res.StatusCode != http.StatusConflict {
		t.Errorf("terminate what is complete: %s", res.Status)
	}
}

func TestTus_Refuses(t *testing.T) {
	r := idle(t, func(c *upload.Config) { c.MaxSize, c.Quota, c.MaxOpen = 1000, 2500, 3 })
	length := func(s string) map[string]string { return map[string]string{"Upload-Length": s} }
	with := func(k, v string) map[string]string { return map[string]string{"Upload-Length": "10", k: v} }
	for _, tt := range []struct {
		name   string
		who    identity.Identity
		header map[string]string
		want   int
	}{
		{"no_token", identity.Identity{}, length("10"), http.StatusUnauthorized},
		{"listener", as(artistID, authv1.Role_ROLE_LISTENER), length("10"), http.StatusForbidden},
		{"too_large", artist(), length("1001"), http.StatusRequestEntityTooLarge},
		{"no_length", artist(), nil, http.StatusBadRequest},
		{"negative", artist(), length("-1"), http.StatusBadRequest},
		{"empty", artist(), length("0"), http.StatusBadRequest},
		{"overflow", artist(), length("99999999999999999999"), http.StatusBadRequest},
		{"deferred", artist(), map[string]string{"Upload-Defer-Length": "1"}, http.StatusBadRequest},
		{"partial", artist(), with("Upload-Concat", "partial"), http.StatusBadRequest},
		{"final", artist(), map[string]string{"Upload-Concat": "final;/upload/v1/files/x"}, http.StatusBadRequest},
		{"override", artist(), with("X-HTTP-Method-Override", "PATCH"), http.StatusBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := r.do(t, tt.who, http.MethodPost, "/upload/v1/files/", nil, tt.header)
			if res.StatusCode != tt.want {
				b, _ := io.ReadAll(res.Body)
				t.Errorf("%s, want %d: %s", res.Status, tt.want, b)
			}
		})
	}
	for range 2 {
		if res := r.create(t, artist(), "x", 1000); res.StatusCode != http.StatusCreated {
			t.Fatal(res.Status)
		}
	}
	res := r.create(t, artist(), "x", 1000)
	if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(b), "quota") {
		t.Errorf("quota: %s %s", res.Status, b)
	}
	if res := r.create(t, other(), "x", 1000); res.StatusCode != http.StatusCreated {
		t.Errorf("another owner: %s", res.Status)
	}
	if res := r.create(t, artist(), "x", 1); res.StatusCode != http.StatusCreated {
		t.Errorf("third: %s", res.Status)
	}
	if res := r.create(t, artist(), "x", 1); res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("fourth: %s", res.Status)
	}
	at := r.create(t, other(), "x", 5).Header.Get("Location")
	if res := r.patch(t, other(), at, 0, []byte("123456")); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("more bytes than announced: %s", res.Status)
	}
}

func TestTus_NameIsMetadataOnly(t *testing.T) {
	r := idle(t, nil)
	for in, want := range map[string]string{
		"../../../etc/passwd": "passwd", `C:\Users\x\a.mp3`: "a.mp3", "a\x00b\n.mp3": "ab .mp3", "": "upload", "..": "upload",
		"/": "upload", "\u202etxt.exe": "txt.exe", "\xff\xfe": "upload", strings.Repeat("ä", 400): strings.Repeat("ä", 127),
		"<script>alert(1)</script>": "script>", "-i http://x": "x",
	} {
		at := r.create(t, artist(), in, 8).Header.Get("Location")
		res, err := r.client(artist()).GetUpload(t.Context(), &uploadv1.GetUploadRequest{Id: path.Base(at)})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.GetUpload().GetFileName(); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	// An owner in the metadata is only text.
	res := r.do(t, artist(), http.MethodPost, "/upload/v1/files/", nil, map[string]string{
		"Upload-Length":   "8",
		"Upload-Metadata": "owner_id " + base64.StdEncoding.EncodeToString([]byte(otherID)) + ",id " + base64.StdEncoding.EncodeToString([]byte("../x")),
	})
	u, err := r.store.Get(t.Context(), path.Base(res.Header.Get("Location")))
	if err != nil || u.OwnerID != artistID {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestJanitor_Expires(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.clock = func() time.Time { return now }
	r := w.build(t)
	at := r.create(t, artist(), "x", 8).Header.Get("Location")
	r.patch(t, artist(), at, 0, []byte("1234"))
	r.stop()
	now = now.Add(25 * time.Hour)
	r = w.start(t)
	u := r.until(t, path.Base(at), in(upload.Failed))
	if u.Reason != "The upload was not finished in time." {
		t.Errorf("reason %q", u.Reason)
	}
	if got := offset(t, r, artist(), at); got != "4" {
		t.Errorf("offset %s", got)
	}
	if res := r.patch(t, artist(), at, 4, []byte("5678")); res.StatusCode != http.StatusConflict {
		t.Errorf("patch after it has expired: %s", res.Status)
	}
	_, err := r.client(artist()).RetryUpload(t.Context(), &uploadv1.RetryUploadRequest{Id: u.ID})
	if connect.CodeOf(err) != connect.CodeAborted && connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("retry: %v", err)
	}
	var codes []string
	for _, e := range r.events(t, u.ID) {
		m, err := e.GetPayload().UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		if rej, ok := m.(*eventv1.UploadRejected); ok {
			codes = append(codes, rej.GetCode())
		}
	}
	if fmt.Sprint(codes) != "[expired]" {
		t.Errorf("rejections %v", codes)
	}
}

// TestJanitor_FinishesWhatWasCutOff: the last byte came and the service stopped before
// the job was queued.
func TestJanitor_FinishesWhatWasCutOff(t *testing.T) {
	w := newWorld(t)
	inner := w.blobs
	w.blobs = failingBlobs{inner}
	song := makeAudio(t, "flac", 3, 3)
	r := w.build(t)
	at := r.create(t, artist(), "x.flac", len(song)).Header.Get("Location")
	if res := r.patch(t, artist(), at, 0, song); res.StatusCode != http.StatusInternalServerError {
		t.Fatalf("%s", res.Status)
	} else if b, _ := io.ReadAll(res.Body); strings.Contains(string(b), "disk") {
		t.Errorf("the answer tells too much: %s", b)
	}
	r.stop()
	w.blobs = inner
	later := time.Now().Add(time.Hour)
	w.clock = func() time.Time { return later }
	r = w.start(t)
	r.until(t, path.Base(at), in(upload.Complete))
}
