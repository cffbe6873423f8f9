package player

import (
	"context"
	"crypto/ecdh"
	"fmt"
	"io"
	"log/slog"
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

// Device is who opens a session.
type Device struct {
	ID, Name string
	// Client is the program and its version.
	Client string
}

// Server is where a session is opened.
type Server struct {
	Base     *url.URL
	Sessions playbackv1connect.SessionServiceClient
	// HTTP carries the fallback, without an access token: its ticket is enough.
	HTTP *http.Client
}

// OpenSession opens a streaming session, with a key that lives as long as it does. It
// returns the session's id with it.
func OpenSession(ctx context.Context, s Server, d Device, random io.Reader, log *slog.Logger) (*client.Session, string, error) {
	key, err := ecdh.X25519().GenerateKey(random)
	if err != nil {
		return nil, "", fmt.Errorf("open session: %w", err)
	}
	res, err := s.Sessions.OpenSession(ctx, &playbackv1.OpenSessionRequest{
		DeviceId: d.ID, DeviceName: d.Name, Client: d.Client, PublicKey: key.PublicKey().Bytes(),
	})
	if err != nil {
		return nil, "", fmt.Errorf("open session: %w", err)
	}
	sessionID, err := id.Parse(res.GetSessionId())
	if err != nil {
		return nil, "", fmt.Errorf("open session: %w", err)
	}
	sessionKey, err := seal.OpenSessionKey(key, sessionID, res.GetSealedKey())
	if err != nil {
		return nil, "", fmt.Errorf("open session: %w", err)
	}
	// Ends of tickets are told by the server's clock; ours may be another.
	ahead := time.Duration(0)
	if res.GetServerUnixMs() > 0 {
		ahead = time.Since(time.UnixMilli(res.GetServerUnixMs()))
	}
	session, err := client.Open(client.Config{
		SessionID: sessionID, SessionKey: sessionKey, Ticket: res.GetTicket(), TicketExpires: time.UnixMilli(res.GetTicketExpiresUnixMs()).Add(ahead),
		Endpoints: endpoints(s.Base, res.GetEndpoints()), HTTP: s.HTTP, Log: log,
		RenewTicket: func(ctx context.Context) ([]byte, time.Time, error) {
			res, err := s.Sessions.RenewTicket(ctx, &playbackv1.RenewTicketRequest{SessionId: sessionID.String()})
			if err != nil {
				return nil, time.Time{}, fmt.Errorf("renew ticket: %w", err)
			}
			return res.GetTicket(), time.UnixMilli(res.GetTicketExpiresUnixMs()).Add(ahead), nil
		},
	})
	if err != nil {
		return nil, "", fmt.Errorf("open session: %w", err)
	}
	return session, sessionID.String(), nil
}

// endpoints completes what a server leaves open: a host that is missing is that of the
// API, and a URL may be relative to it.
func endpoints(base *url.URL, list []*playbackv1.Endpoint) []client.Endpoint {
	out := make([]client.Endpoint, 0, len(list))
	for _, e := range list {
		c := client.Endpoint{CertificateSHA256: e.GetCertificateSha256()}
		if host, port, err := net.SplitHostPort(e.GetQuic()); err == nil {
			if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
				host = base.Hostname()
			}
			c.QUIC = net.JoinHostPort(host, port)
		}
		if e.GetFallback() != "" {
			if u, err := base.Parse(e.GetFallback()); err == nil {
				c.Fallback = u.String()
			}
		}
		out = append(out, c)
	}
	return out
}
