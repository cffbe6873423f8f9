package app

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segue-music/segue/edge/stream"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
)

func buildEdge(_ context.Context, p *process) error {
	blobs, err := p.nearBlobs()
	if err != nil {
		return err
	}
	svc, err := stream.New(p.config.QUIC, stream.Deps{
		Streams: dial(p, "edge", "playback", playbackv1connect.NewStreamServiceClient),
		Players: dial(p, "edge", "playback", playbackv1connect.NewPlayerServiceClient),
		Blobs:   blobs, Ring: p.ring, Origins: p.origins, Log: p.log, Now: p.now, Metrics: p.metrics, Tracer: p.tracer,
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, svc.Close)
	p.doors.QUIC = svc.Addr().String()
	p.serve("edge", svc.Handler())
	p.run("edge", svc.Run)
	return nil
}

// edgeAnswer is what an edge tells of itself.
type edgeAnswer struct {
	QUIC         string   `json:"quic"`
	WebTransport string   `json:"webtransport"`
	Certificates [][]byte `json:"certificate_sha256"`
	Fallback     string   `json:"fallback"`
	Objects      string   `json:"objects"`
}

// endpointFresh is how old the answer of an edge may be; its certificate is known for
// days before it is used.
const endpointFresh = 30 * time.Second

// endpoints asks the edge where devices stream from.
func (p *process) endpoints(self string) func(context.Context) ([]*playbackv1.Endpoint, error) {
	var mu sync.Mutex
	var held []*playbackv1.Endpoint
	var until time.Time
	return func(ctx context.Context) ([]*playbackv1.Endpoint, error) {
		mu.Lock()
		defer mu.Unlock()
		if p.now().Before(until) {
			return held, nil
		}
		a, err := decode[edgeAnswer](p.get(ctx, self, "edge", "/stream/v1/endpoint"))
		if err != nil {
			return nil, err
		}
		base := p.publicURL()
		held = []*playbackv1.Endpoint{{
			Quic: a.QUIC, Webtransport: webTransportURL(base, a), CertificateSha256: a.Certificates,
			Fallback: base + a.Fallback, Objects: base + a.Objects,
		}}
		until = p.now().Add(endpointFresh)
		return held, nil
	}
}

// webTransportURL is the session's URL; an edge without a host of its own has the API's.
func webTransportURL(base string, a edgeAnswer) string {
	host, port, err := net.SplitHostPort(a.QUIC)
	if err != nil {
		return ""
	}
	if _, err := strconv.Atoi(port); err != nil {
		return ""
	}
	if u, err := url.Parse(base); err == nil && host == "" {
		host = u.Hostname()
	}
	return "https://" + net.JoinHostPort(host, port) + a.WebTransport
}

// connectSources are the origins of the edge for the player's connect-src, seen from a
// page that came from host.
func (p *process) connectSources(host string) []string {
	quicHost, port, err := net.SplitHostPort(p.quicAddr())
	if err != nil {
		return nil
	}
	if ip := net.ParseIP(quicHost); quicHost == "" || (ip != nil && (ip.IsUnspecified() || ip.IsLoopback())) {
		quicHost = host
	}
	out := []string{"https://" + net.JoinHostPort(quicHost, port)}
	if at := p.config.QUIC.CDN.URL; at != "" {
		out = append(out, strings.TrimSuffix(at, "/"))
	}
	if u, err := url.Parse(p.publicURL()); err == nil && u.Hostname() != quicHost {
		out = append(out, "https://"+net.JoinHostPort(u.Hostname(), port))
	}
	return out
}

// quicAddr is where the edge listens: ours, or what settings say of the one beside us.
func (p *process) quicAddr() string {
	if p.doors.QUIC != "" {
		return p.doors.QUIC
	}
	if h := p.config.QUIC.PublicHost; h != "" {
		return h
	}
	return p.config.QUIC.Listen
}
