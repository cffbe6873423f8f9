package cloudblob_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/blobtest"
	"github.com/segue-music/segue/internal/blob/cloudblob"
)

// jsonAPI answers as Google Cloud Storage is documented to: objects have generations, a
// wrong one is 404 or 412, a body that breaks off leaves nothing, lists come in pages.
type jsonAPI struct {
	mu      sync.Mutex
	objects map[string]kept
	last    int64
	refuse  int // so many requests are answered with 503 first
}

type kept struct {
	data       []byte
	generation int64
	at         time.Time
}

func (k kept) resource(name string) map[string]string {
	return map[string]string{
		"name": name, "size": fmt.Sprint(len(k.data)), "generation": fmt.Sprint(k.generation), "updated": k.at.UTC().Format(time.RFC3339Nano),
	}
}

func (a *jsonAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.Method == http.MethodPost {
		a.insert(w, r, q)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse > 0 {
		a.refuse--
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/storage/v1/b/bucket/o")
	if path == "" {
		a.list(w, q)
		return
	}
	name, err := url.PathUnescape(strings.TrimPrefix(path, "/"))
	o, ok := a.objects[name]
	if err != nil || !ok || q.Get("generation") != "" && q.Get("generation") != fmt.Sprint(o.generation) {
		http.Error(w, "no such object", http.StatusNotFound)
		return
	}
	switch {
	case r.Method == http.MethodDelete:
		delete(a.objects, name)
		w.WriteHeader(http.StatusNoContent)
	case q.Get("alt") == "media":
		http.ServeContent(w, r, "", o.at, strings.NewReader(string(o.data)))
	default:
		_ = json.NewEncoder(w).Encode(o.resource(name))
	}
}

func (a *jsonAPI) insert(w http.ResponseWriter, r *http.Request, q url.Values) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "broken off", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	name := q.Get("name")
	if _, there := a.objects[name]; there && q.Get("ifGenerationMatch") == "0" {
		http.Error(w, "there already", http.StatusPreconditionFailed)
		return
	}
	a.last++
	a.objects[name] = kept{data, a.last, time.Now()}
	_ = json.NewEncoder(w).Encode(a.objects[name].resource(name))
}

func (a *jsonAPI) list(w http.ResponseWriter, q url.Values) {
	const pageSize = 3
	var names []string
	for name := range a.objects {
		if strings.HasPrefix(name, q.Get("prefix")) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	from, _ := strconv.Atoi(q.Get("pageToken")) // none is 0
	page := map[string]any{}
	var items []map[string]string
	for _, name := range names[min(from, len(names)):min(from+pageSize, len(names))] {
		items = append(items, a.objects[name].resource(name))
	}
	page["items"] = items
	if from+pageSize < len(names) {
		page["nextPageToken"] = fmt.Sprint(from + pageSize)
	}
	_ = json.NewEncoder(w).Encode(page)
}

func openFake(t *testing.T, a *jsonAPI) cloudblob.Bucket {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(server.URL, "http://"))
	s, err := cloudblob.Open(t.Context(), "gs://bucket")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestGCS(t *testing.T) {
	a := &jsonAPI{objects: map[string]kept{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", server.URL)
	blobtest.Run(t, func(t *testing.T) blob.Store {
		a.mu.Lock()
		a.objects = map[string]kept{}
		a.mu.Unlock()
		s, err := cloudblob.Open(t.Context(), "gs://bucket")
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// TestGCS_Away: what only reads is tried again.
func TestGCS_Away(t *testing.T) {
	a := &jsonAPI{objects: map[string]kept{}}
	s := openFake(t, a)
	if err := s.Put(t.Context(), "k", strings.NewReader("v"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	a.refuse = 2
	a.mu.Unlock()
	if info, err := s.Stat(t.Context(), "k"); err != nil || info.Size != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestGCS_Settings(t *testing.T) {
	for _, u := range []string{"gs://bucket?access_id=x", "gs://bucket?anonymous=maybe"} {
		if _, err := cloudblob.Open(t.Context(), u); err == nil {
			t.Errorf("%q opens", u)
		}
	}
	if _, err := cloudblob.Open(t.Context(), "gs://bucket?anonymous=true"); err != nil {
		t.Error(err)
	}
}
