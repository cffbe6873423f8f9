package obs

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// DoorDeps are what [Door] shows.
type DoorDeps struct {
	Metrics http.Handler
	// Alive says that the process is stuck, Ready that it cannot do its work.
	Alive    func() error
	Ready    func(context.Context) error
	Profiles http.Handler
	// RemoteProfiles shows profiles to others than this machine, too.
	RemoteProfiles bool
}

// Door is the door for operations: /metrics, /livez, /readyz and profiles. Anyone who
// reaches it may read it.
func Door(d DoorDeps) http.Handler {
	say := func(w http.ResponseWriter, err error) {
		w.Header().Set("Cache-Control", "no-store")
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", d.Metrics)
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { say(w, d.Alive()) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) { say(w, d.Ready(r.Context())) })
	mux.HandleFunc(ProfilesPath, func(w http.ResponseWriter, r *http.Request) {
		if !d.RemoteProfiles && !local(r) {
			http.Error(w, "profiles are for loopback addresses, or with -ops.remote-profiles", http.StatusForbidden)
			return
		}
		d.Profiles.ServeHTTP(w, r)
	})
	return mux
}

// local reports whether a request came over a loopback address, in the name of one: a web
// page that an operator looks at can point a name of its own to 127.0.0.1.
func local(r *http.Request) bool {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	ip, err := netip.ParseAddrPort(at.String())
	if err != nil || !ip.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	named, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && named.Unmap().IsLoopback()
}
