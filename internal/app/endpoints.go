package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
)

// edgeAnswer is what an edge tells of itself.
type edgeAnswer struct {
	QUIC         string   `json:"quic"`
	WebTransport string   `json:"webtransport"`
	Certificates [][]byte `json:"certificate_sha256"`
	Fallback     string   `json:"fallback"`
	Objects      string   `json:"objects"`
}

const (
	// endpointFresh is how old the answer of an edge may be; its certificate is known for
	// days before it is used.
	endpointFresh = 30 * time.Second
	// endpointLimit is how long an edge has to answer.
	endpointLimit = 2 * time.Second
)

// edges are where devices stream from, as the edges say.
type edges struct {
	ask func(context.Context) ([]*playbackv1.Endpoint, error)
	now func() time.Time

	mu    sync.Mutex
	held  []*playbackv1.Endpoint
	until time.Time
}

// get returns them in another order each time: a device begins with the first, and goes
// on to the next when that one leaves.
func (e *edges) get(ctx context.Context) ([]*playbackv1.Endpoint, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.now().Before(e.until) {
		found, err := e.ask(ctx)
		if err != nil {
			return nil, err
		}
		e.held, e.until = found, e.now().Add(endpointFresh)
	}
	out := slices.Clone(e.held)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] }) //nolint:gosec // a draw, no secret
	return out, nil
}

func (p *process) askEdges(ctx context.Context) (all []*playbackv1.Endpoint, err error) {
	ctx, cancel := context.WithTimeout(ctx, endpointLimit)
	defer cancel()
	self := "gateway"
	if p.config.runs("playback") {
		self = "playback"
	}
	answers, err := p.each(ctx, self, "edge", "/stream/v1/endpoint")
	if err != nil {
		return nil, err
	}
	base := p.publicURL()
	for _, b := range answers {
		a, err := decode[edgeAnswer](b, nil)
		if err != nil {
			return nil, fmt.Errorf("read what an edge says: %w", err)
		}
		all = append(all, &playbackv1.Endpoint{
			Quic: a.QUIC, Webtransport: webTransportURL(base, a), CertificateSha256: a.Certificates,
			Fallback: base + a.Fallback, Objects: base + a.Objects,
		})
	}
	return all, nil
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
