package stream

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/stream/server/overhttp"
	"github.com/segue-music/segue/stream/wire"
)

const (
	playPath     = "/stream/v1/play"
	sessionPath  = "/stream/v1/wt"
	endpointPath = "/stream/v1/endpoint"
	objectsPath  = "/o/"
	cdnPath      = "/stream/v1/cdn"
)

// Handler has the plain routes: the fallback, the objects, and where QUIC is. It has no
// RPC, so that it makes no use of opts.
func (s *Service) Handler(...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(playPath, s.servePlay)
	mux.HandleFunc("OPTIONS "+playPath, s.preflight)
	mux.HandleFunc("GET "+endpointPath, s.serveEndpoint)
	mux.HandleFunc("GET "+objectsPath+"{object}", s.serveObject)
	mux.HandleFunc("OPTIONS "+objectsPath+"{object}", s.preflight)
	mux.HandleFunc("GET "+objectsPath+"{object}/token", s.serveToken)
	mux.HandleFunc("POST "+cdnPath, s.serveCDNCookie)
	mux.HandleFunc("OPTIONS "+cdnPath, s.preflight)
	return mux
}

// endpoint is the answer of GET /stream/v1/endpoint.
type endpoint struct {
	QUIC         string   `json:"quic"`
	WebTransport string   `json:"webtransport"`
	Certificates [][]byte `json:"certificate_sha256"` // base64
	Fallback     string   `json:"fallback"`
	Objects      string   `json:"objects"`
}

// serveEndpoint tells a playback of another process what Endpoint tells one of this.
func (s *Service) serveEndpoint(w http.ResponseWriter, r *http.Request) {
	addr, path, hashes := s.Endpoint()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := endpoint{addr, path, hashes, playPath, objectsPath}
	if err := json.NewEncoder(w).Encode(e); err != nil {
		s.deps.Log.DebugContext(r.Context(), "endpoint was not sent", "err", err)
	}
}

// allowOrigin lets pages of the configured origins read the answer. There are no
// cookies of ours here: the ticket in the body is the leave.
func (s *Service) allowOrigin(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && originAllowed(origin, s.origins()) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
	}
}

func (s *Service) preflight(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w, r)
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Range")
	w.Header().Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

func (s *Service) servePlay(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w, r)
	w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	overhttp.Serve(s.http, w, r)
}

// serveObject serves ranges of ciphertext. The token is checked whether or not the
// object is at hand, and an answer that is not the object is never cached.
func (s *Service) serveObject(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Content-Range, Accept-Ranges, ETag")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	fail := func(status int) {
		h.Set("Cache-Control", "no-store")
		http.Error(w, http.StatusText(status), status)
	}
	id, err := parseObjectID(r.PathValue("object"))
	if err != nil {
		fail(http.StatusNotFound)
		return
	}
	good, _, err := s.mayRead(id, r)
	switch {
	case err != nil:
		s.deps.Log.ErrorContext(r.Context(), "object token was not checked", "err", err)
		fail(http.StatusInternalServerError)
		return
	case !good:
		fail(http.StatusUnauthorized)
		return
	}
	o, err := s.objects.get(r.Context(), id)
	switch {
	case errors.Is(err, &wire.Error{Code: wire.NotFound}):
		fail(http.StatusNotFound)
		return
	case err != nil:
		if r.Context().Err() == nil {
			s.deps.Log.ErrorContext(r.Context(), "object was not opened", "err", err)
		}
		fail(http.StatusInternalServerError)
		return
	}
	defer o.Close()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", `"`+r.PathValue("object")+`"`)
	body := io.NewSectionReader(o, 0, o.Size())
	http.ServeContent(&cachePolicy{ResponseWriter: w}, r, "", time.Time{}, body)
}

// cachePolicy sets Cache-Control when the status is known.
type cachePolicy struct {
	http.ResponseWriter
	done bool
}

func (c *cachePolicy) WriteHeader(status int) {
	if !c.done {
		c.done = true
		policy := "no-store"
		switch status {
		case http.StatusOK, http.StatusPartialContent, http.StatusNotModified:
			policy = "public, max-age=31536000, immutable"
		}
		c.Header().Set("Cache-Control", policy)
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *cachePolicy) Write(b []byte) (int, error) {
	if !c.done {
		c.WriteHeader(http.StatusOK)
	}
	return c.ResponseWriter.Write(b)
}

// pieces are read and written at once: larger ones save calls, and there is one for each
// answer on its way.
const piece = 64 << 10

var pieces = sync.Pool{New: func() any { return new([piece]byte) }} //nolint:gochecknoglobals // memory that is used again

// ReadFrom serves io.Copy.
func (c *cachePolicy) ReadFrom(r io.Reader) (int64, error) {
	if !c.done {
		c.WriteHeader(http.StatusOK)
	}
	buf, _ := pieces.Get().(*[piece]byte)
	defer pieces.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{c.ResponseWriter}, r, buf[:])
}

// Unwrap lets http.ResponseController through.
func (c *cachePolicy) Unwrap() http.ResponseWriter { return c.ResponseWriter }
