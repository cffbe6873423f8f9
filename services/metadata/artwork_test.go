package metadata_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
)

func (f *fixture) get(t *testing.T, method, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, rpctest.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := f.srv.As(identity.Identity{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestArtwork_Serve(t *testing.T) {
	f := setUp(t)
	whole, small := ident("whole"), ident("small")
	for key, body := range map[string]string{
		"artwork/" + whole + "/160.jpg": "w160", "artwork/" + whole + "/320.jpg": "w320", "artwork/" + whole + "/640.jpg": "w640",
		"artwork/" + small + "/160.jpg": "s160", "staging/secret": "secret",
	} {
		if err := f.blobs.Put(t.Context(), key, strings.NewReader(body), blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		whole + "/160": "w160", whole + "/320": "w320", whole + "/640": "w640",
		small + "/160": "s160", small + "/320": "s160", small + "/640": "s160",
	} {
		res, body := f.get(t, http.MethodGet, "/artwork/"+path, nil)
		if res.StatusCode != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, want %q", path, res.StatusCode, body, want)
		}
		h := res.Header
		if h.Get("Content-Type") != "image/jpeg" || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Cache-Control") != "public, max-age=31536000, immutable" || h.Get("ETag") == "" {
			t.Errorf("%s: headers %v", path, h)
		}
		again, body := f.get(t, http.MethodGet, "/artwork/"+path, http.Header{"If-None-Match": {h.Get("ETag")}})
		if again.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("%s with its ETag: %d %q", path, again.StatusCode, body)
		}
		head, body := f.get(t, http.MethodHead, "/artwork/"+path, nil)
		if head.StatusCode != http.StatusOK || head.Header.Get("Content-Length") != "4" || body != "" {
			t.Errorf("HEAD %s: %d, %s bytes", path, head.StatusCode, head.Header.Get("Content-Length"))
		}
	}
}

func TestArtwork_Hostile(t *testing.T) {
	f := setUp(t)
	a := ident("a")
	for _, key := range list("artwork/"+a+"/160.jpg", "staging/secret", "artwork/secret/160.jpg", "160.jpg") {
		if err := f.blobs.Put(t.Context(), key, strings.NewReader("picture"), blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range list(
		"/artwork/"+a+"/161", "/artwork/"+a+"/0160", "/artwork/"+a+"/160.jpg", "/artwork/"+a+"/", "/artwork/"+a+"/160/", "/artwork/"+a,
		"/artwork/../staging/secret", "/artwork/%2e%2e%2fstaging/160", "/artwork/..%2f..%2fetc%2fpasswd/160", "/artwork/"+a+"%2f160.jpg%00/160",
		"/artwork/"+a+"/160%2f..%2f160", "/artwork/secret/160", "/artwork/%2e%2e/160", "/artwork//160", "/artwork/"+a+"%0d%0aX: y/160",
		"/artwork/"+strings.Repeat("a", 65)+"/160", "/artwork/"+strings.Repeat("ä", 16)+"/160", "/artwork/"+ident("none")+"/640",
		"/artwork/"+a+"\\160/160", "/artwork/"+strings.Repeat("a/", 2000)+"160",
	) {
		res, body := f.get(t, http.MethodGet, path, nil)
		if res.StatusCode < 300 || strings.Contains(body, "picture") {
			t.Errorf("%s: %d %q", path, res.StatusCode, body)
		}
		if c := res.Header.Get("Cache-Control"); strings.Contains(c, "public") {
			t.Errorf("%s: an error may be kept: %s", path, c)
		}
	}
	if res, _ := f.get(t, http.MethodPost, "/artwork/"+a+"/160", nil); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.StatusCode)
	}
	if res, body := f.get(t, http.MethodGet, "/artwork/"+a+"/160", http.Header{"Range": {"bytes=999-"}}); res.StatusCode != http.StatusRequestedRangeNotSatisfiable || strings.Contains(res.Header.Get("Cache-Control"), "public") {
		t.Errorf("a range past the end: %d %q %v", res.StatusCode, body, res.Header)
	}
}
