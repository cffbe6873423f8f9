package gateway

import "net/http"

// ofObjects are the headers of a request for an object that mean something to who has it.
var ofObjects = [...]string{ //nolint:gochecknoglobals // a constant
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Origin", "Cookie", "User-Agent",
	"Access-Control-Request-Method", "Access-Control-Request-Headers",
}

// serveDirect has a target of this process write a long answer itself. Through the proxy
// every byte would be copied once more and change goroutines, which is a third of what
// the answer costs. The target is told what the proxy tells, and no more.
func (x *exchange) serveDirect(h http.Handler) {
	out := x.r.Clone(x.r.Context())
	out.Header = make(http.Header, len(ofObjects)+6)
	for _, name := range ofObjects {
		if v := x.r.Header[name]; len(v) > 0 {
			out.Header[name] = v
		}
	}
	out.Body, out.ContentLength, out.TransferEncoding, out.Trailer = http.NoBody, 0, nil, nil
	x.tell(out.Context(), out.Header, x.r.Host)
	w := &directWriter{x: x, header: http.Header{}}
	h.ServeHTTP(w, out)
	w.WriteHeader(http.StatusOK)
	x.w.limit()
	_ = x.w.FlushError() // the client has gone where it fails
}

// directWriter passes an answer on as the proxy does: with the headers that a target may set.
type directWriter struct {
	x      *exchange
	header http.Header
	done   bool
}

func (w *directWriter) Header() http.Header { return w.header }

func (w *directWriter) WriteHeader(status int) {
	if w.done || status < 200 {
		return
	}
	w.done = true
	cleanResponse(w.header, w.x.route)
	to := w.x.w.Header()
	if w.header.Get(headerCORS) != "" {
		dropCORS(to) // two answers to one question are refused by browsers
	}
	for name, v := range w.header {
		to[name] = append(to[name], v...)
	}
	w.x.w.WriteHeader(status)
}

func (w *directWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	n, err := w.x.w.Write(b)
	w.x.w.unlimit()
	return n, err
}
