package gateway_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/segue-music/segue/edge/gateway"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc"
)

const getMe = "/segue.user.v1.AccountService/GetMe"

func TestGateway_Attack(t *testing.T) {
	x := newWorld(t)
	addr := x.listen()
	forged, err := x.tokens.Mint("user", identity.Identity{Target: "gateway", UserID: "victim", Roles: []authv1.Role{authv1.Role_ROLE_ADMIN}})
	if err != nil {
		t.Fatal(err)
	}
	const host = "Host: segue.test\n"
	post := func(path, more, body string) string {
		return "POST " + path + " HTTP/1.1\n" + host + "Content-Type: application/json\nContent-Length: " + strconv.Itoa(len(body)) + "\n" + more + "\n" + body
	}
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"good":                       {post(getMe, "Authorization: Bearer token-listener\n", "{}"), 200},
		"forged_identity":            {post(getMe, rpc.Header+": "+forged+"\n", "{}"), 401},
		"forged_identity_and_token":  {post(getMe, rpc.Header+": "+forged+"\nAuthorization: Bearer token-listener\n", "{}"), 200},
		"forged_identity_lower_case": {post(getMe, strings.ToLower(rpc.Header)+": "+forged+"\nAuthorization: Bearer token-listener\n", "{}"), 200},
		"forged_identity_underscore": {post(getMe, "Segue_Identity: "+forged+"\nAuthorization: Bearer token-listener\n", "{}"), 200},
		"forged_identity_twice":      {post(getMe, rpc.Header+": "+forged+"\n"+rpc.Header+": "+forged+"\nAuthorization: Bearer token-listener\n", "{}"), 200},
		"connection_names_identity":  {post(getMe, "Connection: "+rpc.Header+", close\nAuthorization: Bearer token-listener\n", "{}"), 200},
		"identity_as_trailer":        {"POST " + getMe + " HTTP/1.1\n" + host + "Content-Type: application/json\nAuthorization: Bearer token-listener\nTransfer-Encoding: chunked\nTrailer: " + rpc.Header + "\n\n2\n{}\n0\n" + rpc.Header + ": " + forged + "\n\n", 200},
		"forwarded_for":              {post(getMe, "X-Forwarded-For: 6.6.6.6\nX-Forwarded_For: 6.6.6.6\nForwarded: for=6.6.6.6\nX-Real-IP: 6.6.6.6\nAuthorization: Bearer token-listener\n", "{}"), 200},
		"no_token":                   {post(getMe, "", "{}"), 401},
		"bad_token":                  {post(getMe, "Authorization: Bearer nonsense\n", "{}"), 401},
		"two_tokens":                 {post(getMe, "Authorization: Bearer token-listener\nAuthorization: Bearer token-admin\n", "{}"), 401},
		"basic_on_rpc":               {post(getMe, "Authorization: Basic YTpi\n", "{}"), 401},
		"token_in_query":             {post(getMe+"?access_token=token-admin", "", "{}"), 401},
		"wrong_role":                 {post("/segue.user.v1.AccountService/ListAccounts", "Authorization: Bearer token-listener\n", "{}"), 403},
		"internal_method":            {post("/segue.user.v1.ListenerKeyService/GetListenerKey", "Authorization: Bearer token-admin\n", "{}"), 404},
		"unknown_method":             {post("/segue.user.v1.AccountService/Nothing", "Authorization: Bearer token-admin\n", "{}"), 404},
		"unknown_package":            {post("/segue.secret.v1.S/M", "Authorization: Bearer token-admin\n", "{}"), 405},
		"method_override":            {post(getMe, "X-HTTP-Method-Override: DELETE\nAuthorization: Bearer token-listener\n", "{}"), 200},
		"get_on_rpc":                 {"GET " + getMe + " HTTP/1.1\n" + host + "\n", 405},
		"trace":                      {"TRACE / HTTP/1.1\n" + host + "\n", 405},
		"connect":                    {"CONNECT evil.test:80 HTTP/1.1\nHost: evil.test:80\n\n", 400},
		"asterisk":                   {"OPTIONS * HTTP/1.1\n" + host + "\n", 200}, // net/http answers itself
		"lower_case_method":          {"get / HTTP/1.1\n" + host + "\n", 405},
		"invented_method":            {"FOO /login HTTP/1.1\n" + host + "\n", 405},
		"double_slash":               {post("//segue.user.v1.AccountService/GetMe", "Authorization: Bearer token-listener\n", "{}"), 400},
		"inner_double_slash":         {"GET /o//x HTTP/1.1\n" + host + "\n", 400},
		"dot_segment":                {"GET /assets/../livez HTTP/1.1\n" + host + "\n", 400},
		"encoded_dots":               {"GET /assets/%2e%2e/livez HTTP/1.1\n" + host + "\n", 400},
		"encoded_slash":              {"GET /o/a%2fb HTTP/1.1\n" + host + "\n", 400},
		"encoded_backslash":          {"GET /o/a%5Cb HTTP/1.1\n" + host + "\n", 400},
		"double_encoding":            {"GET /o/%252e%252e HTTP/1.1\n" + host + "\n", 400},
		"encoded_nul":                {"GET /o/a%00 HTTP/1.1\n" + host + "\n", 400},
		"encoded_newline":            {"GET /o/a%0ab HTTP/1.1\n" + host + "\n", 400},
		"backslash":                  {"GET /o\\..\\login HTTP/1.1\n" + host + "\n", 400},
		"bad_utf8":                   {"GET /%ff%fe HTTP/1.1\n" + host + "\n", 400},
		"absolute_form":              {"GET http://evil.test/o/x HTTP/1.1\n" + host + "\n", 200},
		"no_host":                    {"GET / HTTP/1.1\n\n", 400},
		"two_lengths":                {"POST /login HTTP/1.1\n" + host + "Content-Length: 1\nContent-Length: 2\n\nab", 400},
		"length_and_chunked":         {"POST /login HTTP/1.1\n" + host + "Content-Length: 4\nTransfer-Encoding: chunked\n\n0\n\n", 200}, // framed anew: the length is gone
		"odd_chunking":               {"POST /login HTTP/1.1\n" + host + "Transfer-Encoding: xchunked\n\n0\n\n", 501},
		"space_before_colon":         {"GET / HTTP/1.1\n" + host + "X-A : b\n\n", 400},
		"huge_header":                {"GET / HTTP/1.1\n" + host + "X-A: " + strings.Repeat("a", 64<<10) + "\n\n", 431},
		"long_path":                  {"GET /" + strings.Repeat("a", 4000) + " HTTP/1.1\n" + host + "\n", 400},
		"oversize_announced":         {"POST /login HTTP/1.1\n" + host + "Content-Length: 9999999\n\n", 413},
		"oversize_chunked":           {"POST /login HTTP/1.1\n" + host + "Transfer-Encoding: chunked\n\n20000\n" + strings.Repeat("a", 0x20000) + "\n0\n\n", 413},
		"body_on_get":                {"GET /artwork/x/1 HTTP/1.1\n" + host + "Content-Length: 3\n\nabc", 413},
		"upgrade":                    {"GET /stream/v1/wt HTTP/1.1\n" + host + "Connection: upgrade\nUpgrade: websocket\n\n", 200},
		"cross_site_login":           {post("/login", "Origin: https://evil.test\nSec-Fetch-Site: cross-site\n", "{}"), 403},
		"same_site_login":            {post("/login", "Origin: http://segue.test\nSec-Fetch-Site: same-origin\n", "{}"), 200},
		"upload_without_token":       {"POST /upload/v1/files/ HTTP/1.1\n" + host + "Content-Length: 0\n\n", 401},
		"upload_as_listener":         {"POST /upload/v1/files/ HTTP/1.1\n" + host + "Authorization: Bearer token-listener\nContent-Length: 0\n\n", 403},
		"upload_as_artist":           {"POST /upload/v1/files/ HTTP/1.1\n" + host + "Authorization: Bearer token-artist\nContent-Length: 0\n\n", 200},
		"upload_outside":             {"POST /upload/v1/other HTTP/1.1\n" + host + "Authorization: Bearer token-artist\nContent-Length: 0\n\n", 405},
		"login_prefix_only":          {"POST /loginx HTTP/1.1\n" + host + "Content-Length: 0\n\n", 405},
	} {
		t.Run(name, func(t *testing.T) {
			x.took()
			res := raw(t, addr, c.request)
			if res.StatusCode != c.status {
				b, _ := io.ReadAll(res.Body)
				t.Errorf("status %d, want %d: %s", res.StatusCode, c.status, b)
			}
			if res.StatusCode == http.StatusUnauthorized && !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("no challenge in %v", res.Header)
			}
			for _, s := range x.took() {
				if c.status >= 400 && c.status != 413 {
					t.Errorf("refused and yet passed on to %s", s.target)
				}
				if s.who.UserID == "victim" || s.who.Target != gateway.Self || len(s.header.Values(rpc.Header)) != 1 {
					t.Errorf("identity %+v of %d headers", s.who, len(s.header.Values(rpc.Header)))
				}
				if s.who.IP != "127.0.0.1" || s.header.Get("X-Forwarded-For") != "127.0.0.1" {
					t.Errorf("address is %q, forwarded for %q", s.who.IP, s.header.Get("X-Forwarded-For"))
				}
				for h := range s.header {
					switch h {
					case "Segue_identity", "X-Forwarded_for", "Forwarded", "X-Real-Ip", "X-Http-Method-Override", "Upgrade", "Trailer":
						t.Errorf("header %s was passed on", h)
					case "Authorization", "Cookie":
						if s.target != "edge" && s.target != "user" {
							t.Errorf("header %s was passed on to %s", h, s.target)
						}
					}
				}
			}
		})
	}
}

// TestGateway_Access tries every method of the contracts as everybody.
func TestGateway_Access(t *testing.T) {
	x := newWorld(t, func(d *gateway.Deps) {
		for i := range d.Config.Rates {
			d.Config.Rates[i].IP.Burst, d.Config.Rates[i].User.Burst = 1e6, 1e6
		}
	})
	tried := 0
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				if !strings.HasPrefix(string(f.Package()), "segue.") {
					continue
				}
				access, _ := proto.GetExtension(m.Options(), authv1.E_Access).(*authv1.Access)
				for _, role := range []string{"", "listener", "artist", "label", "admin"} {
					tried++
					req := httptest.NewRequest(http.MethodPost, "/"+string(s.FullName())+"/"+string(m.Name()), bytes.NewReader(nil))
					if role != "" {
						req.Header.Set("Authorization", "Bearer token-"+role)
					}
					want := http.StatusForbidden
					switch {
					case len(access.GetRoles()) == 0 && !access.GetAnonymous():
						want = http.StatusNotFound
					case access.GetAnonymous():
						want = http.StatusOK
					case role == "":
						want = http.StatusUnauthorized
					case (identity.Identity{Roles: access.GetRoles()}).Has(authv1.Role(authv1.Role_value["ROLE_"+strings.ToUpper(role)])):
						want = http.StatusOK
					}
					res := httptest.NewRecorder()
					x.gw.Handler().ServeHTTP(res, req)
					if res.Code != want {
						t.Errorf("%s as %q: status %d, want %d", req.URL.Path, role, res.Code, want)
					}
					if passed := x.took(); (len(passed) == 1) != (want == http.StatusOK) {
						t.Errorf("%s as %q: passed on %d times", req.URL.Path, role, len(passed))
					}
				}
			}
		}
		return true
	})
	if tried < 150 {
		t.Errorf("only %d cases: are the contracts still linked in?", tried)
	}
	if len(x.refused) == 0 {
		t.Error("nobody was told of a refusal")
	}
}

func TestGateway_TrustedProxy(t *testing.T) {
	for name, c := range map[string]struct{ trusted, forwarded, want string }{
		"none":           {"", "9.9.9.9", "192.0.2.1"},
		"peer":           {"192.0.2.0/24", "8.8.8.8, 9.9.9.9", "9.9.9.9"},
		"chain":          {"192.0.2.0/24,10.0.0.0/8", "8.8.8.8, 9.9.9.9, 10.1.2.3", "9.9.9.9"},
		"garbage":        {"192.0.2.0/24", "9.9.9.9, <script>", "192.0.2.1"},
		"missing":        {"192.0.2.1", "", "192.0.2.1"},
		"mapped_to_v4":   {"192.0.2.1", "::ffff:9.9.9.9", "9.9.9.9"},
		"zone_is_cut":    {"192.0.2.1", "fe80::1%eth0", "fe80::1"},
		"all_of_proxies": {"0.0.0.0/0", "9.9.9.9", "9.9.9.9"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newWorld(t, func(d *gateway.Deps) { d.Config.TrustedProxies = c.trusted })
			req := httptest.NewRequest(http.MethodGet, "/artwork/a/1", nil)
			req.Header.Set("X-Forwarded-For", c.forwarded)
			x.gw.Handler().ServeHTTP(httptest.NewRecorder(), req)
			if got := x.took(); len(got) != 1 || got[0].who.IP != c.want {
				t.Errorf("%+v, want %s", got, c.want)
			}
		})
	}
}

func TestGateway_PanicIsAnswered(t *testing.T) {
	x := newWorld(t, func(d *gateway.Deps) {
		d.Log = slog.New(slog.DiscardHandler)
		d.TrustPages = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errBoom) })
	})
	res := raw(t, x.listen(), "GET /trust HTTP/1.1\nHost: a\n\n")
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusInternalServerError || strings.Contains(string(b), "boom") {
		t.Errorf("%d %s", res.StatusCode, b)
	}
}

func TestGateway_UnreachableTarget(t *testing.T) {
	x := newWorld(t)
	delete(x.deps.Backends, "metadata")
	b := x.deps.Backends["edge"]
	b.Transport = failing{}
	x.deps.Backends["edge"] = b
	x.build()
	for _, path := range []string{"/artwork/a/1", "/o/x"} {
		res := httptest.NewRecorder()
		x.gw.Handler().ServeHTTP(res, httptest.NewRequest(http.MethodGet, path, nil))
		if res.Code != http.StatusServiceUnavailable || strings.Contains(res.Body.String(), "boom") {
			t.Errorf("%s: %d %s", path, res.Code, res.Body)
		}
	}
}

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errBoom }
