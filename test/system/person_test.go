//go:build system

package system

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	"github.com/segue-music/segue/gen/segue/charts/v1/chartsv1connect"
	"github.com/segue-music/segue/gen/segue/collect/v1/collectv1connect"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
	"github.com/segue-music/segue/stream/id"
	people "github.com/segue-music/segue/test/person"
)

const (
	oauthClient   = "seguectl"
	oauthRedirect = "http://127.0.0.1/callback"
	personPass    = "a password of theirs"
)

// person is somebody who is signed in, on one device.
type person struct {
	d        *deployment
	Name, ID string
	Device   string
	access   string
	refresh  string
	made     string // an upload of theirs, where a test made one

	Accounts  userv1connect.AccountServiceClient
	Catalogue metadatav1connect.CatalogueServiceClient
	Uploads   uploadv1connect.UploadServiceClient
	Sessions  playbackv1connect.SessionServiceClient
	Player    playbackv1connect.PlayerServiceClient
	Collect   collectv1connect.CollectServiceClient
	Charts    chartsv1connect.ChartServiceClient
	Audit     warehousev1connect.AuditServiceClient
}

func newID() string { return id.New(time.Now(), rand.Reader).String() }

// Do puts the access token on a request; it is a connect.HTTPClient.
func (p *person) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+p.access)
	return http.DefaultClient.Do(req)
}

func (p *person) Context() context.Context { return p.d.Context() }

// admin signs the admin in.
func (d *deployment) admin() *person {
	d.Helper()
	return d.signIn("admin", adminPassword)
}

// listener makes an account in the market US, and signs it in.
func (d *deployment) listener(admin *person, name string) *person {
	d.Helper()
	_, err := admin.Accounts.CreateAccount(d.Context(), &userv1.CreateAccountRequest{
		Username: name, Password: personPass, DisplayName: "The one called " + name, Email: name + "@example.org",
		Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, Market: "US", IdempotencyKey: newID(),
	})
	if err != nil {
		d.Fatal(err)
	}
	return d.signIn(name, personPass)
}

// signIn signs in on a new device.
func (d *deployment) signIn(name, password string) *person {
	d.Helper()
	p := &person{d: d, Name: name, Device: newID()}
	if err := p.signIn(password); err != nil {
		d.Fatalf("sign in as %s: %v", name, err)
	}
	p.Accounts = userv1connect.NewAccountServiceClient(p, d.URL)
	p.Catalogue = metadatav1connect.NewCatalogueServiceClient(p, d.URL)
	p.Uploads = uploadv1connect.NewUploadServiceClient(p, d.URL)
	p.Sessions = playbackv1connect.NewSessionServiceClient(p, d.URL)
	p.Player = playbackv1connect.NewPlayerServiceClient(p, d.URL)
	p.Collect = collectv1connect.NewCollectServiceClient(p, d.URL)
	p.Charts = chartsv1connect.NewChartServiceClient(p, d.URL)
	p.Audit = warehousev1connect.NewAuditServiceClient(p, d.URL)
	me, err := p.Accounts.GetMe(d.Context(), &userv1.GetMeRequest{})
	if err != nil {
		d.Fatal(err)
	}
	p.ID = me.GetAccount().GetId()
	return p
}

// signIn walks through the login form, as a browser without JavaScript does.
func (p *person) signIn(password string) error {
	in, err := people.SignIn(p.d.Context(), http.DefaultTransport, p.d.URL, p.Name, password)
	if err != nil {
		return err
	}
	p.refresh = in.Refresh
	p.access, err = in.Access(p.d.Context(), http.DefaultTransport)
	return err
}

// renew uses the refresh token.
func (p *person) renew() error {
	return p.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.refresh}})
}

func (p *person) token(form url.Values) error {
	form.Set("client_id", oauthClient)
	res, err := http.PostForm(p.d.URL+"/oauth/token", form)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Error   string `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("token endpoint: %s: %w", res.Status, err)
	}
	if res.StatusCode != http.StatusOK || answer.Access == "" || answer.Refresh == "" {
		return fmt.Errorf("token endpoint: %s %s", res.Status, answer.Error)
	}
	p.access, p.refresh = answer.Access, answer.Refresh
	return nil
}

// wantCode fails unless err has a code of Connect.
func (d *deployment) wantCode(what string, err error, code connect.Code) {
	d.Helper()
	if err == nil || connect.CodeOf(err) != code {
		d.Errorf("%s: %v, want %v", what, err, code)
	}
}
