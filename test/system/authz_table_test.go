package system

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/segue-music/segue/edge/gateway"
	_ "github.com/segue-music/segue/gen/segue/charts/v1"
	_ "github.com/segue-music/segue/gen/segue/collect/v1"
	_ "github.com/segue-music/segue/gen/segue/metadata/v1"
	_ "github.com/segue-music/segue/gen/segue/playback/v1"
	_ "github.com/segue-music/segue/gen/segue/upload/v1"
	_ "github.com/segue-music/segue/gen/segue/user/v1"
	_ "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// Who calls: nobody, accounts with one role each, and whoever holds a genuine identity
// token of a service and shows it at the public door.
var authzRoles = []string{"anonymous", "listener", "artist", "label", "admin", "service"} //nolint:gochecknoglobals // a constant

// Short names of answers: the codes of Connect, and statuses where there is none.
const (
	toAll     = "U ok ok ok ok U"
	toNobody  = "404 404 404 404 404 404"
	toAdmin   = "U D D D ok U"
	toUpload  = "U D ok ok ok U"
	lacksAll  = "U N N N N U" // not found by anyone
	lacksPub  = "U D N N N U" // not found by those who publish
	badToAll  = "U bad bad bad bad U"
	badToAdm  = "U D D D bad U"
	staleAll  = "U stale stale stale stale U"
	pageToAll = "200 200 200 200 200 200"
)

// authzRPC is one row: what a method answers whom. A row is the promise; the option in
// proto/ is how it is kept.
type authzRPC struct {
	method string
	// body is the request as JSON. {own} is a thing of the caller, {other} the same kind
	// of thing of somebody else's, as kind says: login, session, track, upload, user.
	body, kind string
	// own and other are the answers by role; other is empty where a request names nothing
	// that somebody owns.
	own, other string
	// callers are the services that may call it; all others may not.
	callers string
	// ignored says that what a request names of somebody else is passed over, and the
	// caller's own is answered: see whose.
	ignored string
}

func authzRPCs() []authzRPC {
	const nobody22 = "0000000000000000000001"
	return []authzRPC{
		{method: "user.v1.AccountService/GetMe", body: `{}`, own: toAll},
		{method: "user.v1.AccountService/UpdateMe", body: `{"revision":"999999"}`, own: staleAll},
		{method: "user.v1.AccountService/ChangePassword", body: `{}`, own: badToAll},
		{method: "user.v1.AccountService/CreateAccount", body: `{}`, own: badToAdm},
		{method: "user.v1.AccountService/ListAccounts", body: `{}`, own: toAdmin},
		{method: "user.v1.AccountService/UpdateAccount", body: `{"id":"{id}","revision":"999999"}`, kind: "user", own: "U D D D stale U", other: "U D D D stale U"},
		{method: "user.v1.AccountService/DeleteAccount", body: `{"id":"{id}"}`, kind: "nothing", own: "U D D D N U", other: "U D D D N U"},
		{method: "user.v1.AccountService/ListSessions", body: `{}`, own: toAll},
		{method: "user.v1.AccountService/RevokeSession", body: `{"id":"{id}"}`, kind: "login", own: toAll, other: lacksAll},
		{method: "user.v1.KeyRingService/ListKeys", body: `{}`, own: toAdmin},
		{method: "user.v1.KeyRingService/RotateKeys", body: `{"purposes":["none"]}`, own: badToAdm},
		{method: "user.v1.ListenerKeyService/GetListenerKey", body: `{"userId":"{id}"}`, kind: "user", own: toNobody, other: toNobody, callers: "collect playback upload warehouse"},
		{method: "user.v1.DirectoryService/FindAccount", body: `{"username":"admin"}`, own: toNobody, callers: "upload"},
		{method: "user.v1.AccessAuditService/RecordRefusal", body: `{"procedure":"/x"}`, own: toNobody, callers: "gateway"},

		{method: "metadata.v1.CatalogueService/ListAlbums", body: `{}`, own: toAll},
		{method: "metadata.v1.CatalogueService/GetAlbum", body: `{"id":"` + nobody22 + `"}`, own: lacksAll},
		{method: "metadata.v1.CatalogueService/ListArtists", body: `{}`, own: toAll},
		{method: "metadata.v1.CatalogueService/GetArtist", body: `{"id":"` + nobody22 + `"}`, own: lacksAll},
		{method: "metadata.v1.CatalogueService/ListTracks", body: `{}`, own: toAll},
		{method: "metadata.v1.CatalogueService/GetTracks", body: `{"ids":["{id}"]}`, kind: "track", own: toAll, other: toAll},
		{method: "metadata.v1.CatalogueService/SetAvailability", body: `{"trackId":"{id}","availability":{},"revision":"999999"}`, kind: "track",
			own: "U D stale stale stale U", other: "U D D D stale U"},
		{method: "metadata.v1.IngestService/PutTrack", body: `{}`, own: toNobody, callers: "upload"},
		{method: "metadata.v1.IngestService/PutArtwork", body: `{}`, own: toNobody, callers: "upload"},
		{method: "metadata.v1.IngestService/PublishRendition", body: `{}`, own: toNobody, callers: "upload"},
		{method: "metadata.v1.IngestService/SetTrackFacts", body: `{}`, own: toNobody, callers: "upload"},
		{method: "metadata.v1.IngestService/FailTrack", body: `{}`, own: toNobody, callers: "upload"},
		{method: "metadata.v1.IngestService/LookupTracks", body: `{"ids":["` + nobody22 + `"]}`, own: toNobody, callers: "playback upload edge warehouse"},

		{method: "upload.v1.UploadService/ListUploads", body: `{}`, own: toUpload},
		{method: "upload.v1.UploadService/GetUpload", body: `{"id":"{id}"}`, kind: "upload", own: "U D ok ok ok U", other: "U D N N ok U"},
		{method: "upload.v1.UploadService/WatchUploads", body: `{"ids":["{id}"]}`, kind: "upload", own: toUpload, other: toUpload, ignored: "nothing is told of another's upload"},
		{method: "upload.v1.UploadService/RetryUpload", body: `{"id":"{id}"}`, kind: "upload", own: "U D stale stale stale U", other: "U D N N stale U"},
		{method: "upload.v1.UploadService/GetIngestStatus", body: `{}`, own: toAdmin},
		{method: "upload.v1.PrioritiseService/Prioritise", body: `{"trackId":"` + nobody22 + `"}`, own: toNobody, callers: "playback"},

		{method: "playback.v1.SessionService/OpenSession", body: `{"deviceId":"{id}","publicKey":"bad"}`, kind: "nothing", own: badToAll, other: badToAll},
		{method: "playback.v1.SessionService/RenewTicket", body: `{"sessionId":"{id}"}`, kind: "session", own: toAll, other: lacksAll},
		{method: "playback.v1.PlayerService/GetPlayer", body: `{}`, own: toAll},
		{method: "playback.v1.PlayerService/UpdatePlayer", body: `{"revision":"999999","deviceId":"{id}","state":{}}`, kind: "device", own: staleAll, other: staleAll},
		{method: "playback.v1.PlayerService/WatchPlayer", body: `{"userId":"{id}"}`, kind: "user", own: toAll, other: toAll, ignored: "the caller's own player is shown", callers: "edge"},
		{method: "playback.v1.StreamService/ResolvePlay", body: `{}`, own: toNobody, callers: "edge"},
		{method: "playback.v1.StreamService/CheckFences", body: `{}`, own: toNobody, callers: "edge"},
		{method: "playback.v1.StreamService/ReportServed", body: `{}`, own: toNobody, callers: "edge"},
		{method: "playback.v1.KeyService/PutKey", body: `{}`, own: toNobody, callers: "upload"},
		{method: "playback.v1.RecordService/RecordEvents", body: `{}`, own: toNobody, callers: "collect"},

		{method: "collect.v1.CollectService/SendEvents", body: `{"deviceId":"{id}","sessionId":"{id}"}`, kind: "device", own: badToAll, other: badToAll, ignored: "events are of the caller"},

		{method: "warehouse.v1.AuditService/SearchEvents", body: `{"limit":1}`, own: toAdmin},
		{method: "warehouse.v1.AuditService/TailEvents", body: `{}`, own: toAdmin},
		{method: "warehouse.v1.AuditService/ReplayEvents", body: `{"topic":"billing-events"}`, own: toAdmin},
		{method: "warehouse.v1.AuditService/FlushLake", body: `{}`, own: toAdmin},

		{method: "charts.v1.ChartService/GetChart", body: `{"period":"PERIOD_DAY"}`, own: toAll},
	}
}

// authzHTTP is a row of a route that is no RPC.
type authzHTTP struct {
	route        string // as the gateway's table has it
	method, path string
	kind         string
	own, other   string
}

func authzRoutes() []authzHTTP {
	var out []authzHTTP
	// Below an RPC prefix there is nothing but the methods of authzRPCs.
	for _, service := range []string{"user", "metadata", "upload", "playback", "collect", "warehouse", "charts"} {
		out = append(out,
			authzHTTP{route: "/segue." + service + ".v1.", method: "POST", path: "/segue." + service + ".v1.Nothing/Here", own: toNobody},
			authzHTTP{route: "/segue." + service + ".v1.", method: "GET", path: "/segue." + service + ".v1.Nothing/Here", own: "405 405 405 405 405 405"})
	}
	return append(out, []authzHTTP{
		{route: "/oauth/", method: "GET", path: "/oauth/authorize", own: "400 400 400 400 400 400"},
		{route: "/oauth/", method: "GET", path: "/oauth/userinfo", own: toNobody},
		{route: "/oauth/", method: "DELETE", path: "/oauth/token", own: "405 405 405 405 405 405"},
		{route: "/login", method: "GET", path: "/login", own: "400 400 400 400 400 400"},
		{route: "/login/", method: "GET", path: "/login/style.css", own: pageToAll},
		{route: "/login/", method: "GET", path: "/login/other", own: toNobody},
		{route: "/.well-known/", method: "GET", path: "/.well-known/jwks.json", own: pageToAll},
		{route: "/.well-known/", method: "GET", path: "/.well-known/other", own: toNobody},
		{route: "/upload/v1/bucket", method: "POST", path: "/upload/v1/bucket", own: "401 401 401 401 401 401"},
		{route: "/upload/v1/files/", method: "POST", path: "/upload/v1/files/", own: "401 403 400 400 400 401"},
		{route: "/upload/v1/files/", method: "HEAD", path: "/upload/v1/files/{id}", kind: "open upload", own: "401 403 200 200 200 401", other: "401 403 404 404 404 401"},
		{route: "/upload/v1/files/", method: "PATCH", path: "/upload/v1/files/{id}", kind: "open upload", own: "401 403 409 409 409 401", other: "401 403 404 404 404 401"},
		{route: "/upload/v1/files/", method: "DELETE", path: "/upload/v1/files/{id}", kind: "open upload", own: "401 403 204 204 204 401", other: "401 403 404 404 404 401"},
		{route: "/upload/v1/files/", method: "GET", path: "/upload/v1/files/{id}", kind: "open upload", own: "405 405 405 405 405 405", other: "405 405 405 405 405 405"},
		{route: "/artwork/", method: "GET", path: "/artwork/none/160", own: toNobody},
		{route: "/stream/v1/", method: "POST", path: "/stream/v1/play", own: "400 400 400 400 400 400"},
		{route: "/stream/v1/", method: "GET", path: "/stream/v1/endpoint", own: pageToAll},
		{route: "/o/", method: "GET", path: "/o/00000000000000000000000000000000", own: "401 401 401 401 401 401"},
		{route: "/livez", method: "GET", path: "/livez", own: pageToAll},
		{route: "/readyz", method: "GET", path: "/readyz", own: pageToAll},
		{route: "/trust", method: "GET", path: "/trust", own: toNobody},
		{route: "/trust/", method: "GET", path: "/trust/ca.crt", own: toNobody},
		{route: "/admin/debug/pprof/", method: "GET", path: "/admin/debug/pprof/goroutine", own: "401 403 403 403 200 401"},
		{route: "/", method: "GET", path: "/", own: pageToAll},
		{route: "/", method: "POST", path: "/", own: "405 405 405 405 405 405"},
		{route: "/", method: "GET", path: "/metrics", own: toNobody}, // these have a door of their own
		{route: "/", method: "GET", path: "/debug/pprof/heap", own: toNobody},
	}...)
}

// contractMethods are all methods of proto/.
func contractMethods() map[string]protoreflect.MethodDescriptor {
	out := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for k := range s.Methods().Len() {
				if strings.HasPrefix(string(s.FullName()), "segue.") {
					out[strings.TrimPrefix(string(s.FullName()), "segue.")+"/"+string(s.Methods().Get(k).Name())] = s.Methods().Get(k)
				}
			}
		}
		return true
	})
	return out
}

// TestAuthz_TableIsWhole: every route and every method has a row, every row a route or
// method, and whatever a request names that somebody owns is tried with another's.
func TestAuthz_TableIsWhole(t *testing.T) {
	methods := contractMethods()
	rows := map[string]bool{}
	for _, r := range authzRPCs() {
		m := methods[r.method]
		if m == nil || rows[r.method] {
			t.Errorf("%s has a row and is no method, or has two", r.method)
			continue
		}
		rows[r.method] = true
		for _, answers := range []string{r.own, r.other} {
			if n := len(strings.Fields(answers)); n != len(authzRoles) && (answers != "" || r.own == "") {
				t.Errorf("%s: %d answers for %d roles", r.method, n, len(authzRoles))
			}
		}
		if owned := ownedFields(m.Input()); len(owned) > 0 && r.other == "" && r.own != toNobody && !strings.Contains(r.body, "0000000000000000000001") {
			t.Errorf("%s names %v, and its row tries nobody else's", r.method, owned)
		}
	}
	for name := range methods {
		if !rows[name] {
			t.Errorf("%s has no row", name)
		}
	}
	routes := map[string]bool{}
	for _, r := range authzRoutes() {
		routes[r.route] = true
		if !slices.Contains(gateway.Routes(), r.route) {
			t.Errorf("%s has a row and is no route", r.route)
		}
		if n := len(strings.Fields(r.own)); n != len(authzRoles) {
			t.Errorf("%s %s: %d answers for %d roles", r.method, r.path, n, len(authzRoles))
		}
	}
	for _, r := range gateway.Routes() {
		if !routes[r] {
			t.Errorf("route %s has no row", r)
		}
	}
}

// ownedFields are the fields of a request that name something somebody may own.
func ownedFields(m protoreflect.MessageDescriptor) (out []string) {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		switch name := string(f.Name()); name {
		case "id", "ids", "user_id", "owner_id", "account_id", "device_id", "login_id", "session_id", "track_id", "upload_id":
			out = append(out, name)
		}
	}
	return out
}
