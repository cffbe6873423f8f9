package app

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/segue-music/segue/edge/stream"
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

// connectSources are the origins of the edges for the player's connect-src, seen from a
// page that came from host.
func (p *process) connectSources(host string) []string {
	var out []string
	public, err := url.Parse(p.publicURL())
	for _, at := range p.quicAddrs() {
		quicHost, port, err := net.SplitHostPort(at)
		if err != nil {
			continue
		}
		if ip := net.ParseIP(quicHost); quicHost == "" || (ip != nil && (ip.IsUnspecified() || ip.IsLoopback())) {
			quicHost = host
		}
		out = append(out, "https://"+net.JoinHostPort(quicHost, port))
		if public != nil && public.Hostname() != quicHost {
			out = append(out, "https://"+net.JoinHostPort(public.Hostname(), port))
		}
	}
	if at := p.config.QUIC.CDN.URL; at != "" {
		out = append(out, strings.TrimSuffix(at, "/"))
	}
	if err != nil {
		p.log.Error("the public URL is none", "err", err)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// quicAddrs are where the edges listen: this process's own, those that answer, or what
// settings say of the one beside us.
func (p *process) quicAddrs() (out []string) {
	if p.doors.QUIC != "" {
		return []string{p.doors.QUIC}
	}
	ctx, cancel := context.WithTimeout(context.Background(), endpointLimit)
	defer cancel()
	all, err := p.edges.get(ctx)
	for _, e := range all {
		out = append(out, e.GetQuic())
	}
	switch {
	case err == nil:
	case p.config.QUIC.PublicHost != "":
		return []string{p.config.QUIC.PublicHost}
	default:
		return []string{p.config.QUIC.Listen}
	}
	return out
}
