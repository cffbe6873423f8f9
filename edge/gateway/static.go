package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// maxSite bounds the web player's files, which are held in memory.
const maxSite = 64 * mib

// site serves the web player from memory. Ranges are never served: the files are small.
type site struct{ files map[string]*siteFile }

type siteFile struct {
	mime      string
	immutable bool
	plain     encoded
	gzip, br  *encoded
}

type encoded struct {
	body []byte
	etag string
}

func loadSite(fsys fs.FS) (*site, error) {
	s := &site{files: map[string]*siteFile{}}
	if fsys == nil {
		return s, nil
	}
	raw, total := map[string][]byte{}, 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if total += len(b); total > maxSite {
			return fmt.Errorf("files are over %d MiB", maxSite/mib)
		}
		raw[name] = b
		return nil
	})
	if err != nil {
		return nil, err
	}
	for name, b := range raw {
		if base := strings.TrimSuffix(strings.TrimSuffix(name, ".br"), ".gz"); base != name && raw[base] != nil {
			continue
		}
		f := &siteFile{mime: mimeOf(name), immutable: strings.HasPrefix(name, "assets/"), plain: *encode(b)}
		if v, ok := raw[name+".br"]; ok {
			f.br = encode(v)
		}
		if v, ok := raw[name+".gz"]; ok {
			f.gzip = encode(v)
		}
		s.files["/"+name] = f
	}
	if len(s.files) > 0 && s.files["/index.html"] == nil {
		return nil, errors.New("there is no index.html")
	}
	return s, nil
}

func encode(b []byte) *encoded {
	sum := sha256.Sum256(b)
	return &encoded{body: b, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
}

// mimeOf knows what a web player has; the machine's own table of types could say otherwise.
func mimeOf(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".flac":
		return "audio/flac"
	case ".webmanifest":
		return "application/manifest+json"
	case ".wasm":
		return "application/wasm"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	case ".txt":
		return "text/plain; charset=utf-8"
	default:
		if t := mime.TypeByExtension(ext); t != "" {
			return t
		}
		return "application/octet-stream"
	}
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path
	if name == "/" {
		name = "/index.html"
	}
	f, ok := s.files[name]
	if !ok && isPage(r) {
		f, ok = s.files["/index.html"]
	}
	if !ok {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("not found\n")) // a client that went away
		return
	}
	f.write(w, r)
}

// isPage reports whether a path that is no file is one of the player's own pages: a
// browser asks for a document, and nothing about the name says file or API.
func isPage(r *http.Request) bool {
	p := r.URL.Path
	return strings.Contains(r.Header.Get("Accept"), "text/html") && !strings.Contains(p, ".") && !strings.HasPrefix(p, "/assets/")
}

func (f *siteFile) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	body, coding := f.choose(r.Header.Get("Accept-Encoding"))
	if f.br != nil || f.gzip != nil {
		h.Add("Vary", "Accept-Encoding")
	}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	h.Set("Content-Type", f.mime)
	h.Set("ETag", body.etag)
	h.Set("Accept-Ranges", "none")
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == body.etag || tag == "*" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body.body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.body) // a client that went away
	}
}

// choose picks the smallest encoding that the client takes (RFC 9110 section 12.5.3).
func (f *siteFile) choose(accept string) (encoded, string) {
	if f.br != nil && accepts(accept, "br") {
		return *f.br, "br"
	}
	if f.gzip != nil && accepts(accept, "gzip") {
		return *f.gzip, "gzip"
	}
	return f.plain, ""
}

func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		v, err := strconv.ParseFloat(q, 64)
		return !ok || err == nil && v > 0
	}
	return false
}
