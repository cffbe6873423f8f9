package seed

import (
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc"
)

// self is the service in whose name the calls are made.
const self = "upload"

// dial makes clients whose calls carry the identity tokens of the upload service, made
// with the keys of the running server.
func (o *Options) dial() (clients, error) {
	ring, err := keyring.Open(o.Secrets, time.Now)
	if err != nil {
		return clients{}, err
	}
	tokens := rpc.NewTokens(ring, time.Now)
	transport := &http.Transport{Protocols: &http.Protocols{}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	base := strings.TrimSuffix(o.RPC, "/")
	to := func(service string) *rpc.Client {
		return &rpc.Client{Self: self, Audience: service, Tokens: tokens, Transport: transport}
	}
	opt := connect.WithInterceptors(rpc.ClientInterceptor())
	return clients{
		ingest:  metadatav1connect.NewIngestServiceClient(to("metadata"), base, opt),
		keys:    playbackv1connect.NewKeyServiceClient(to("playback"), base, opt),
		account: userv1connect.NewDirectoryServiceClient(to("user"), base, opt),
	}, nil
}
