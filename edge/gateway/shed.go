package gateway

import (
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/overload"
	"github.com/segue-music/segue/internal/ratelimit"
)

// importance of a route's requests.
func (r *route) importance() overload.Importance {
	switch {
	case r.target == "edge", r.target == "playback":
		return overload.Urgent
	case r.class == ClassEvents, r.class == ClassUpload, r.class == ClassMedia:
		return overload.Background
	}
	return overload.Ordinary
}

// shedder bounds how many requests are worked on at a time: in all, by a limit that
// follows the load; per target, so that one slow service does not take the door from the
// others; per client network, so that one client does not. What only waits for its client
// to send or to read is not worked on.
type shedder struct {
	limit                        *overload.Limit
	mostPerTarget, mostPerClient int

	mu        sync.Mutex
	all       int
	perTarget map[string]int
	perClient map[netip.Addr]int
}

func newShedder(c Config, l *overload.Limit) *shedder {
	return &shedder{
		limit: l, mostPerTarget: max(1, c.MaxRequests/2), mostPerClient: max(1, c.MaxRequests/4),
		perTarget: map[string]int{}, perClient: map[netip.Addr]int{},
	}
}

// crowded reports whether a request of somebody might be refused now. It is asked before
// anything that costs is done.
func (s *shedder) crowded(i overload.Importance) bool {
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	return all >= i.Share(s.limit.Now(all))
}

// refuses reports whether this client's would be.
func (s *shedder) refuses(client netip.Addr, i overload.Importance) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.fits(client, i)
}

// fits holds those to the limit who have more than their part of it; the others may go
// beyond, up to twice the limit, so that nobody is refused for what a few do.
func (s *shedder) fits(client netip.Addr, i overload.Importance) bool {
	most := i.Share(s.limit.Most())
	return s.all < most || (s.all < 2*most && s.perClient[client] < most/(len(s.perClient)+1))
}

// enter takes a place, never waiting for one. leave may be called more than once.
func (s *shedder) enter(target string, client netip.Addr, i overload.Importance) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fits(client, i) || s.perTarget[target] >= s.mostPerTarget || s.perClient[client] >= s.mostPerClient {
		return nil, false
	}
	s.all++
	s.perTarget[target]++
	s.perClient[client]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		s.perTarget[target]--
		if s.perClient[client]--; s.perClient[client] == 0 {
			delete(s.perClient, client)
		}
	}), true
}

// turnAway refuses a request when there is too much to do, before anything is done for
// it: at ten times the load, nine of ten requests end here, and what they cost is taken
// from the tenth. It has no id, no span and no line in the log; the metrics count it.
func (g *Gateway) turnAway(w http.ResponseWriter, r *http.Request) bool {
	if !g.shed.crowded(overload.Background) { // whatever it is, there is room
		return false
	}
	if !strings.HasPrefix(r.URL.Path, "/") {
		return false // for those who know what to say to that
	}
	rt := match(g.routes, r.URL.Path)
	if rt.serve == serveHealth || rt.stream || !rt.allows(r.Method) || g.methods[r.URL.Path].stream {
		return false
	}
	client := ratelimit.Network(clientIP(r, g.trusted))
	if !g.shed.refuses(client, rt.importance()) {
		return false
	}
	if p, ok := r.Context().Value(patienceKey{}).(*patience); ok {
		if p.wait(r.Context(), g.streams.Done()) && !g.shed.refuses(client, rt.importance()) {
			return false
		}
		p.refused()
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(headerTimeout)) // a real connection has deadlines
	if r.ContentLength != 0 {
		// The server reads what is left of the body before it answers.
		_ = control.SetReadDeadline(time.Now().Add(time.Second)) // as above
	}
	h := w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Retry-After"] = []string{strconv.Itoa(int(retryAfter.Seconds()))}
	w.WriteHeader(http.StatusServiceUnavailable)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, "too busy\n") // a client that went away
	}
	g.metrics.requests.WithLabelValues(rt.prefix, knownMethod(r.Method), "503").Inc()
	g.metrics.refused.WithLabelValues(rt.prefix, "overload").Inc()
	return true
}
