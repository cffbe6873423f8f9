package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
)

// FuzzHandler sends any path and headers. Nothing reaches a service that is not in the
// table's words: a clean path, no header that only the gateway may set, a caller that the
// token names.
func FuzzHandler(f *testing.F) {
	x := newWorld(f)
	handler := x.gw.Handler()
	f.Add("GET", "/", "", "", "")
	f.Add("POST", "/segue.user.v1.AccountService/GetMe", "Bearer token-listener", "Segue-Identity", "1.2.3.4")
	f.Add("POST", "/segue.user.v1.AccountService/GetMe/../DeleteAccount", "bearer token-admin", "X-Forwarded-For", "::1, evil")
	f.Add("GET", "/o/%2e%2e/x", "Bearer", "Range", "bytes=0-")
	f.Add("PATCH", "/upload/v1/files/x", "Basic eDp5", "Upload-Offset", "-1")
	f.Add("GET", "//livez", "Bearer a b", "traceparent", "00-0-0-0")
	f.Add("OPTIONS", "/stream/v1/play", "", "Origin", "null")
	f.Fuzz(func(t *testing.T, method, target, authorization, name, value string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || method == "" {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Method, r.URL, r.RequestURI = method, u, target
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		if name != "" {
			r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		for _, s := range x.took() {
			if strings.Contains(s.path, "..") && path.Clean(s.path) != s.path {
				t.Fatalf("%q reached %s", s.path, s.target)
			}
			if s.who.UserID != "" && !strings.EqualFold(authorization, "Bearer "+strings.TrimPrefix(s.who.UserID, "u-")) {
				t.Fatalf("%q is taken for %s", authorization, s.who.UserID)
			}
			if s.who.Target != "gateway" {
				t.Fatalf("a stranger speaks as %q", s.who.Target)
			}
		}
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("%s %q: %s", method, target, w.Body)
		}
	})
}
