package person

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
)

// Session is a streaming session that was opened on a device of its own.
type Session struct {
	ID, Key [16]byte
	Answer  *playbackv1.OpenSessionResponse
	base    string
}

// OpenSession opens a streaming session as an app does when it starts, on a new device of
// that name.
func (p *Person) OpenSession(ctx context.Context, c *http.Client, device, app string) (*Session, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make device key: %w", err)
	}
	res, err := playbackv1connect.NewSessionServiceClient(c, p.Base).OpenSession(ctx, &playbackv1.OpenSessionRequest{
		DeviceId: id.New(time.Now(), rand.Reader).String(), DeviceName: device, Client: app, PublicKey: key.PublicKey().Bytes(),
	})
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	s := &Session{Answer: res, base: p.Base}
	if s.ID, err = id.Parse(res.GetSessionId()); err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	if s.Key, err = seal.OpenSessionKey(key, s.ID, res.GetSealedKey()); err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	return s, nil
}

// Config is what stream/client needs for the session; web is for its fallback.
func (s *Session) Config(web http.RoundTripper) (client.Config, error) {
	base, err := url.Parse(s.base)
	if err != nil {
		return client.Config{}, fmt.Errorf("open session: %w", err)
	}
	e := s.Answer.GetEndpoints()[0]
	host, port, err := net.SplitHostPort(e.GetQuic())
	if err != nil {
		return client.Config{}, fmt.Errorf("open session: %w", err)
	}
	if host == "" {
		host = base.Hostname()
	}
	return client.Config{
		SessionID: s.ID, SessionKey: s.Key, Ticket: s.Answer.GetTicket(),
		Endpoints: []client.Endpoint{{QUIC: net.JoinHostPort(host, port), CertificateSHA256: e.GetCertificateSha256(), Fallback: e.GetFallback()}},
		HTTP:      &http.Client{Transport: web},
	}, nil
}
