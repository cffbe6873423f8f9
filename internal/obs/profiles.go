package obs

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"
)

// MaxProfile bounds a CPU profile, a trace and the difference of two snapshots.
const MaxProfile = 60 * time.Second

// ProfilesPath is where [Profiles] expects its requests.
const ProfilesPath = "/debug/pprof/"

// Profiles serves the profiles of the Go runtime below [ProfilesPath], one at a time and
// each within [MaxProfile]: taking one costs the listeners something. The command line
// is not among them.
func Profiles() http.Handler {
	slot := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		name, ok := strings.CutPrefix(r.URL.Path, ProfilesPath)
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		// An empty word would be the default of 30 s for a CPU profile, which is within.
		if s := r.URL.Query().Get("seconds"); s != "" {
			n, err := strconv.ParseFloat(s, 64)
			if err != nil || !(n >= 0) || n > MaxProfile.Seconds() {
				http.Error(w, fmt.Sprintf("seconds must be a number from 0 to %d", int(MaxProfile.Seconds())), http.StatusBadRequest)
				return
			}
		}
		var serve http.Handler
		switch name {
		case "":
			serve = http.HandlerFunc(pprof.Index)
		case "profile":
			serve = http.HandlerFunc(pprof.Profile)
		case "trace":
			serve = http.HandlerFunc(pprof.Trace)
		case "allocs", "block", "goroutine", "heap", "mutex", "threadcreate":
			serve = pprof.Handler(name)
		default:
			http.NotFound(w, r)
			return
		}
		select {
		case slot <- struct{}{}:
			defer func() { <-slot }()
		default:
			w.Header().Set("Retry-After", "5")
			http.Error(w, "another profile is being taken", http.StatusTooManyRequests)
			return
		}
		serve.ServeHTTP(w, r)
	})
}
