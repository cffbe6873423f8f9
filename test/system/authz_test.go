//go:build system

package system

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc"
)

// TestAuthz tries every row of the table through the public door of the built program,
// and in the other shape every method at the doors between services too.
func TestAuthz(t *testing.T) {
	eachShape(t, func(d *deployment) {
		d.login()
		s := newStage(d)
		for _, row := range authzRPCs() {
			d.scenario(row.method, func(d *deployment) { s.try(d, row) })
		}
		for _, row := range authzRoutes() {
			d.scenario(row.method+" "+row.path, func(d *deployment) { s.tryHTTP(d, row) })
		}
		d.scenario("services", func(d *deployment) { s.services(d) })
		d.scenario("owner_is_the_token's", func(d *deployment) { s.ignored(d) })
		d.scenario("told", func(d *deployment) { s.told(d) })
	}, "-http.rate.rpc-per-ip=10000+10000", "-http.rate.login-per-ip=1000+1000", "-user.login-per-ip=1000")
}

// stage is the people of the table and what is theirs.
type stage struct {
	admin  *person // the first account, which looks at events
	people map[string]*person
	// others own what is "other" for everybody else.
	others map[string]*person
	tokens *rpc.Tokens
	// doors has a client with the certificate of each target, stranger has none.
	doors    map[string]*http.Client
	stranger *http.Client
}

func newStage(d *deployment) *stage {
	s := &stage{admin: d.admin(), people: map[string]*person{}, others: map[string]*person{}}
	for role, value := range map[string]authv1.Role{
		"listener": authv1.Role_ROLE_LISTENER, "artist": authv1.Role_ROLE_ARTIST, "label": authv1.Role_ROLE_LABEL, "admin": authv1.Role_ROLE_ADMIN,
	} {
		s.people[role] = d.account(s.admin, "the-"+role, value)
	}
	s.others["listener"] = d.account(s.admin, "another-listener", authv1.Role_ROLE_LISTENER)
	s.others["artist"] = d.account(s.admin, "another-artist", authv1.Role_ROLE_ARTIST)
	ring, err := keyring.Open(s.secrets(d), time.Now)
	if err != nil {
		d.Fatal(err)
	}
	s.tokens = rpc.NewTokens(ring, time.Now)
	s.certify(d)
	return s
}

func (s *stage) secrets(d *deployment) string {
	if len(d.procs) == 1 {
		return d.file("data-secrets")
	}
	return d.file("secrets")
}

// account makes an account with one role and signs it in.
func (d *deployment) account(admin *person, name string, role authv1.Role) *person {
	d.Helper()
	_, err := admin.Accounts.CreateAccount(d.Context(), &userv1.CreateAccountRequest{
		Username: name, Password: personPass, Roles: []authv1.Role{role}, Market: "US", IdempotencyKey: newID(),
	})
	if err != nil {
		d.Fatal(err)
	}
	return d.signIn(name, personPass)
}

// thing makes a thing of a kind that p owns, and returns its id. What p may not own is
// nobody's.
func (s *stage) thing(d *deployment, p *person, role, kind string) string {
	d.Helper()
	publishes := role == "artist" || role == "label" || role == "admin"
	switch {
	case p == nil, kind == "nothing", kind == "":
		return newID()
	case kind == "user":
		return p.ID
	case kind == "device":
		return p.Device
	case kind == "login":
		second := d.signIn(p.Name, personPass)
		list, err := second.Accounts.ListSessions(d.Context(), &userv1.ListSessionsRequest{})
		if err != nil {
			d.Fatal(err)
		}
		for _, l := range list.GetSessions() {
			if l.GetCurrent() {
				return l.GetId()
			}
		}
		d.Fatal("no current sign-in")
	case kind == "session":
		return p.open(false).id
	case !publishes:
		return newID()
	case kind == "open upload":
		return p.openUpload(d)
	}
	// upload, track
	path := d.noise("of-"+p.Name+".flac", 2, int(p.ID[21])+len(p.Name), tags("Of "+p.Name, "Authz")...)
	content, err := os.ReadFile(path)
	if err != nil {
		d.Fatal(err)
	}
	if p.made == "" {
		p.made = p.sent("of-"+p.Name+".flac", content)
		p.reaches(p.made, uploadv1.UploadState_UPLOAD_STATE_COMPLETE)
	}
	if kind == "track" {
		return p.upload(p.made).GetTrackId()
	}
	return p.made
}

// openUpload begins an upload that is not finished.
func (p *person) openUpload(d *deployment) string {
	d.Helper()
	q := *p
	q.d = d
	res := q.tus(http.MethodPost, "/upload/v1/files/", nil, map[string]string{
		"Upload-Length": "1000", "Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte("open.flac")),
	})
	at := res.Header.Get("Location")
	if res.StatusCode != http.StatusCreated {
		d.Fatalf("begin an upload: %s", res.Status)
	}
	return at[strings.LastIndex(at, "/")+1:]
}

// header is what a role shows at the public door.
func (s *stage) header(d *deployment, role, target string) http.Header {
	h := http.Header{}
	switch role {
	case "anonymous":
	case "service":
		h = s.serviceHeader(d, "upload", target)
		h.Set("Segue_Identity", h.Get(rpc.Header))
		h.Set("X-Forwarded-For", "127.0.0.1")
	default:
		h.Set("Authorization", "Bearer "+s.people[role].access)
	}
	return h
}

// serviceHeader is that of a call by a service, with a genuine token.
func (s *stage) serviceHeader(d *deployment, self, target string) http.Header {
	d.Helper()
	token, err := s.tokens.Mint(target, identity.Identity{Target: self, RequestID: "authz"})
	if err != nil {
		d.Fatal(err)
	}
	return http.Header{http.CanonicalHeaderKey(rpc.Header): {token}}
}

// try calls the method of a row in every role.
func (s *stage) try(d *deployment, row authzRPC) {
	target, _, _ := strings.Cut(row.method, ".")
	stream := contractMethods()[row.method].IsStreamingServer()
	for i, role := range authzRoles {
		for whose, answers := range map[string]string{"own": row.own, "other": row.other} {
			if answers == "" {
				continue
			}
			p, as := s.people[role], role
			if whose == "other" {
				p, as = s.other(row.kind, role)
			}
			body := strings.ReplaceAll(row.body, "{id}", s.thing(d, p, as, row.kind))
			got := answerOf(d, d.URL+"/segue."+row.method, body, stream, s.header(d, role, target))
			if want := strings.Fields(answers)[i]; got != want {
				d.Errorf("%s, %s: answered %s, want %s", role, whose, got, want)
			}
		}
	}
}

// other is whose things are another's.
func (s *stage) other(kind, role string) (*person, string) {
	if kind == "upload" || kind == "track" || kind == "open upload" {
		return s.others["artist"], "artist"
	}
	return s.others["listener"], role
}

// answerOf calls a method and names what it answered.
func answerOf(d *deployment, at, body string, stream bool, header http.Header) string {
	d.Helper()
	return answerTo(d, http.DefaultClient, at, body, stream, header)
}

// answerTo is answerOf for a client of its own.
func answerTo(d *deployment, c *http.Client, at, body string, stream bool, header http.Header) string {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), 20*time.Second)
	defer cancel()
	payload, kind := []byte(body), "application/json"
	if stream {
		payload, kind = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...), "application/connect+json"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(payload))
	if err != nil {
		d.Fatal(err)
	}
	req.Header = header
	req.Header.Set("Content-Type", kind)
	res, err := c.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK && stream {
		// A stream that is let in may have nothing to say: its end says that it is not.
		quiet := time.AfterFunc(time.Second, cancel)
		defer quiet.Stop()
		head := make([]byte, 5)
		if _, err := io.ReadFull(res.Body, head); err != nil || head[0]&2 == 0 {
			return "ok"
		}
	} else if res.StatusCode == http.StatusOK {
		return "ok"
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.Fatal(err)
	}
	var said struct {
		Code  string `json:"code"`
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal(b, &said) // what is no JSON has no code
	if said.Code == "" {
		said.Code = said.Error.Code
	}
	if stream && said.Code == "" && res.StatusCode == http.StatusOK {
		return "ok"
	}
	for short, code := range map[string]string{
		"U": "unauthenticated", "D": "permission_denied", "N": "not_found", "bad": "invalid_argument", "stale": "aborted",
	} {
		if said.Code == code {
			return short
		}
	}
	if said.Code != "" {
		return said.Code
	}
	return fmt.Sprint(res.StatusCode)
}

func (s *stage) tryHTTP(d *deployment, row authzHTTP) {
	for i, role := range authzRoles {
		for whose, answers := range map[string]string{"own": row.own, "other": row.other} {
			if answers == "" {
				continue
			}
			p, as := s.people[role], role
			if whose == "other" {
				p, as = s.other(row.kind, role)
			}
			path := strings.ReplaceAll(row.path, "{id}", s.thing(d, p, as, row.kind))
			req, err := http.NewRequestWithContext(d.Context(), row.method, d.URL+path, nil)
			if err != nil {
				d.Fatal(err)
			}
			req.Header = s.header(d, role, "upload")
			if strings.HasPrefix(row.route, "/upload/") {
				req.Header.Set("Tus-Resumable", "1.0.0")
				if row.method == http.MethodPatch {
					req.Header.Set("Upload-Offset", "7") // not where it stands
					req.Header.Set("Content-Type", "application/offset+octet-stream")
				}
			}
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				d.Fatal(err)
			}
			_ = res.Body.Close()
			if want := strings.Fields(answers)[i]; fmt.Sprint(res.StatusCode) != want {
				d.Errorf("%s, %s: answered %d, want %s", role, whose, res.StatusCode, want)
			}
		}
	}
}

// services calls every method at the door between processes, as every service and as
// nobody: the right one is let in, whatever it makes of an empty request, and no other.
func (s *stage) services(d *deployment) {
	if len(d.procs) == 1 {
		d.Log("one process has no such door")
		return
	}
	for _, row := range authzRPCs() {
		target, _, _ := strings.Cut(row.method, ".")
		p := d.process(target)
		stream := contractMethods()[row.method].IsStreamingServer()
		at := p.addr.RPC + "/segue." + row.method
		body := strings.ReplaceAll(row.body, "{id}", newID())
		for i, self := range targets {
			c := s.doors[self]
			if got := answerTo(d, c, at, body, stream, http.Header{}); got != "U" {
				d.Errorf("%s, called by %s without a token: %s", row.method, self, got)
			}
			h := s.serviceHeader(d, self, target)
			allowed := slices.Contains(strings.Fields(row.callers), self)
			got := answerTo(d, c, at, body, stream, h)
			if refused := got == "U" || got == "D"; refused == allowed {
				d.Errorf("%s, called by %s: %s", row.method, self, got)
			}
			// A token for another service is nobody's, and so is one of another service.
			if got := answerTo(d, c, at, body, stream, s.serviceHeader(d, self, target+"x")); got != "U" {
				d.Errorf("%s, called by %s with a token for somebody else: %s", row.method, self, got)
			}
			if got := answerTo(d, s.doors[targets[(i+1)%len(targets)]], at, body, stream, h); got != "U" {
				d.Errorf("%s, called with a token of %s and the certificate of another: %s", row.method, self, got)
			}
		}
	}
	res, err := s.stranger.Get(d.process("user").addr.RPC)
	if err == nil {
		_ = res.Body.Close()
		d.Error("the door between processes opens without a certificate")
	}
}

// certify makes the clients with which processes call each other, and one that trusts
// their authority and has no certificate.
func (s *stage) certify(d *deployment) {
	if len(d.procs) == 1 {
		return
	}
	pem, err := os.ReadFile(d.file("certs/ca.pem"))
	if err != nil {
		d.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		d.Fatal("the authority has no certificate")
	}
	client := func(own ...tls.Certificate) *http.Client {
		t := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
			RootCAs: pool, Certificates: own, InsecureSkipVerify: true, // it calls all of them by their address
		}}
		d.Cleanup(t.CloseIdleConnections)
		return &http.Client{Transport: t}
	}
	s.stranger, s.doors = client(), map[string]*http.Client{}
	for _, name := range targets {
		own, err := tls.LoadX509KeyPair(d.file("certs/"+name+".pem"), d.file("certs/"+name+"-key.pem"))
		if err != nil {
			d.Fatal(err)
		}
		s.doors[name] = client(own)
	}
}

// ignored tries what names somebody else and is answered with the caller's own.
func (s *stage) ignored(d *deployment) {
	ctx := d.Context()
	caller, other := s.people["listener"], s.others["listener"]
	track := s.thing(d, s.people["artist"], "artist", "track")
	other.activate(track)
	watch, err := caller.Player.WatchPlayer(ctx, &playbackv1.WatchPlayerRequest{UserId: other.ID})
	if err != nil {
		d.Fatal(err)
	}
	if watch.Receive() {
		if st := watch.Msg().GetState(); st.GetActiveDeviceId() == other.Device || len(st.GetQueue()) > 0 {
			d.Errorf("another's player is shown: %v", st)
		}
	}
	_ = watch.Close()
	// Two uploads, one of another: a watch of both tells of one.
	artist := s.people["artist"]
	mine, theirs := s.thing(d, artist, "artist", "upload"), s.thing(d, s.others["artist"], "artist", "upload")
	limited, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	uploads, err := artist.Uploads.WatchUploads(limited, &uploadv1.WatchUploadsRequest{Ids: []string{theirs, mine}})
	if err != nil {
		d.Fatal(err)
	}
	for uploads.Receive() {
		if id := uploads.Msg().GetUpload().GetId(); id == theirs {
			d.Error("another's upload is shown")
		} else if id == mine {
			break
		}
	}
	_ = uploads.Close()
	list, err := artist.Uploads.ListUploads(ctx, &uploadv1.ListUploadsRequest{PageSize: 200})
	if err != nil {
		d.Fatal(err)
	}
	for _, u := range list.GetUploads() {
		if u.GetOwnerId() != artist.ID {
			d.Errorf("another's upload is listed: %v", u)
		}
	}
}

// told looks for the refusals in the audit trail: by the door, and by a service.
func (s *stage) told(d *deployment) {
	for role, reason := range map[string]string{"listener": "role", "label": "refused by metadata"} {
		p := s.people[role]
		if role == "label" {
			p = d.account(s.admin, "a-second-label", authv1.Role_ROLE_LABEL) // whose minute is fresh
			track := s.thing(d, s.others["artist"], "artist", "track")
			body := `{"trackId":"` + track + `","availability":{},"revision":"1"}`
			if got := answerOf(d, d.URL+"/segue.metadata.v1.CatalogueService/SetAvailability", body, false,
				http.Header{"Authorization": {"Bearer " + p.access}}); got != "D" {
				d.Errorf("another's track: %s", got)
			}
		}
		d.until(15*time.Second, "the refusal of "+role, func() error {
			for _, e := range d.search(s.admin, &warehousev1.Filter{Types: []string{"AccessRefused"}}) {
				if e.UserID == p.ID && fmt.Sprint(e.Payload["reason"]) == reason {
					return nil
				}
			}
			return errorf("no AccessRefused with reason %q", reason)
		})
	}
}
