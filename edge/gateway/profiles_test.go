package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/segue-music/segue/edge/gateway"
	"github.com/segue-music/segue/internal/obs"
)

// TestProfiles_Admin: profiles are for the role admin with a good token, for nobody else,
// and what is refused is told to the audit trail.
func TestProfiles_Admin(t *testing.T) {
	x := newWorld(t, func(d *gateway.Deps) { d.Profiles = obs.Profiles() })
	const path = "/admin/debug/pprof/goroutine?debug=1"
	for name, c := range map[string]struct {
		token, method string
		want          int
	}{
		"anonymous": {"", http.MethodGet, 401},
		"bad_token": {"Bearer nonsense", http.MethodGet, 401},
		"basic":     {"Basic YWRtaW46YWRtaW4=", http.MethodGet, 401},
		"listener":  {"Bearer token-listener", http.MethodGet, 403},
		"artist":    {"Bearer token-artist", http.MethodGet, 403},
		"label":     {"Bearer token-label", http.MethodGet, 403},
		"admin":     {"Bearer token-admin", http.MethodGet, 200},
		"post":      {"Bearer token-admin", http.MethodPost, 405},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, path, nil)
			if c.token != "" {
				r.Header.Set("Authorization", c.token)
			}
			w := httptest.NewRecorder()
			x.gw.Handler().ServeHTTP(w, r)
			if w.Code != c.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, c.want)
			}
			if got := strings.Contains(w.Body.String(), "goroutine profile"); got != (c.want == 200) {
				t.Errorf("a profile: %t", got)
			}
		})
	}
	if len(x.took()) != 0 {
		t.Error("a service was asked")
	}
	if !slices.Contains(x.refused, "/admin/debug/pprof/: role: u-token-listener") {
		t.Errorf("refusals: %q", x.refused)
	}
	for _, other := range []string{"/admin/", "/admin/debug/", "/admin/debug/pprof", "/debug/pprof/", "/admin/debug/pprof/cmdline"} {
		r := httptest.NewRequest(http.MethodGet, other, nil)
		r.Header.Set("Authorization", "Bearer token-admin")
		w := httptest.NewRecorder()
		x.gw.Handler().ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), "profile") && w.Code == http.StatusOK {
			t.Errorf("%s: %d %s", other, w.Code, w.Body)
		}
	}
}

// TestProfiles_None: a gateway that was given none has none.
func TestProfiles_None(t *testing.T) {
	x := newWorld(t)
	r := httptest.NewRequest(http.MethodGet, "/admin/debug/pprof/heap", nil)
	r.Header.Set("Authorization", "Bearer token-admin")
	w := httptest.NewRecorder()
	x.gw.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
