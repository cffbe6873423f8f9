// Package api calls a Segue server as the one who is signed in: it puts the access
// token on requests and renews it when it runs out.
package api

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	"github.com/segue-music/segue/cmd/seguectl/internal/signin"
	"github.com/segue-music/segue/gen/segue/collect/v1/collectv1connect"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
)

// API is a signed-in client of one server.
type API struct {
	base  *url.URL
	user  string
	plain *http.Client
	auth  *http.Client
}

// New makes the client of who is signed in according to dir; home.ErrSignedOut when
// nobody is. It touches no network.
func New(dir *home.Dir, agent string) (*API, error) {
	cred, err := dir.Credentials()
	if err != nil {
		return nil, err
	}
	base, err := signin.ParseServer(cred.Server)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	named, err := Transport(cred.CA, agent)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	tokens := &tokens{dir: dir, now: time.Now, client: signin.Client{Base: base, Transport: named, Now: time.Now, Random: rand.Reader}}
	return &API{
		base: base, user: cred.User,
		plain: &http.Client{Transport: named},
		auth: &http.Client{
			Transport: &bearer{next: named, base: base, tokens: tokens},
			// No route that takes a token redirects; following would take it elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Base is the server's URL, User the name signed in with.
func (a *API) Base() *url.URL { return a.base }

// User is the name signed in with.
func (a *API) User() string { return a.user }

// HTTP sends requests with the access token.
func (a *API) HTTP() *http.Client { return a.auth }

// Plain sends requests without it.
func (a *API) Plain() *http.Client { return a.plain }

func (a *API) options() []connect.ClientOption {
	return []connect.ClientOption{connect.WithReadMaxBytes(16 << 20)}
}

// Accounts is the client of accounts.
func (a *API) Accounts() userv1connect.AccountServiceClient {
	return userv1connect.NewAccountServiceClient(a.auth, a.base.String(), a.options()...)
}

// Keys is the client of the server's keys.
func (a *API) Keys() userv1connect.KeyRingServiceClient {
	return userv1connect.NewKeyRingServiceClient(a.auth, a.base.String(), a.options()...)
}

// Catalogue is the client of the catalogue.
func (a *API) Catalogue() metadatav1connect.CatalogueServiceClient {
	return metadatav1connect.NewCatalogueServiceClient(a.auth, a.base.String(), a.options()...)
}

// Uploads is the client of uploads.
func (a *API) Uploads() uploadv1connect.UploadServiceClient {
	return uploadv1connect.NewUploadServiceClient(a.auth, a.base.String(), a.options()...)
}

// Sessions is the client that opens streaming sessions.
func (a *API) Sessions() playbackv1connect.SessionServiceClient {
	return playbackv1connect.NewSessionServiceClient(a.auth, a.base.String(), a.options()...)
}

// Player is the client of the listener's player.
func (a *API) Player() playbackv1connect.PlayerServiceClient {
	return playbackv1connect.NewPlayerServiceClient(a.auth, a.base.String(), a.options()...)
}

// Collect is the client that delivers events.
func (a *API) Collect() collectv1connect.CollectServiceClient {
	return collectv1connect.NewCollectServiceClient(a.auth, a.base.String(), a.options()...)
}

// Audit is the client of the audit trail.
func (a *API) Audit() warehousev1connect.AuditServiceClient {
	return warehousev1connect.NewAuditServiceClient(a.auth, a.base.String(), a.options()...)
}

// ErrCA says that a file holds no certificate.
var ErrCA = errors.New("no certificate in PEM form was found")

// Transport makes the connections. ca are certificates in PEM to trust beside those of
// the system, and may be empty; agent is this program's name.
func Transport(ca, agent string) (http.RoundTripper, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM([]byte(ca)) {
			return nil, ErrCA
		}
		config.RootCAs = pool
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &userAgent{name: agent, next: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 10 * time.Second, MaxIdleConns: 16, IdleConnTimeout: time.Minute,
		// Searching the audit trail begins to answer only when it has found something.
		ResponseHeaderTimeout: 3 * time.Minute, ExpectContinueTimeout: time.Second,
	}}, nil
}
