package app

import (
	"context"
	"errors"
	"net"
	"net/url"

	"github.com/segue-music/segue/edge/gateway"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/internal/accesstoken"
	"github.com/segue-music/segue/internal/lifecycle"
	"github.com/segue-music/segue/internal/tlscert"
	"github.com/segue-music/segue/web"
)

func buildGateway(_ context.Context, p *process) error {
	cert, err := p.certificate()
	if err != nil {
		return err
	}
	backends := map[string]gateway.Backend{}
	for _, t := range targetNames() {
		if t != gateway.Self {
			rt, base := p.transport(t)
			backends[t] = gateway.Backend{Transport: rt, Base: base}
		}
	}
	audit := dial(p, gateway.Self, "user", userv1connect.NewAccessAuditServiceClient)
	refused := newRefusals(p.log, func(ctx context.Context, r *userv1.RecordRefusalRequest) error {
		_, err := audit.RecordRefusal(ctx, r)
		return err
	})
	g, err := gateway.New(gateway.Deps{
		Config: p.config.HTTP, Backends: backends, Mint: p.tokens.Mint, Static: web.Files(),
		Verify:     accesstoken.NewVerifier(p.fetchKeys, p.publicURL, p.now).Verify,
		TrustPages: cert.TrustPages(), PublicOrigins: p.origins, ConnectSources: p.connectSources, HSTS: cert.Public(), SharedLimits: p.sharedLimits("gateway"),
		OnRefused: refused.add, Ready: p.health.Ready, Alive: p.health.Alive, Profiles: p.profiles, Log: p.log, Now: p.now, NewID: p.newID, Metrics: p.metrics, Tracer: p.tracer,
	})
	if err != nil {
		return err
	}
	p.run("refusals", refused.run)
	p.group.Add(p.door(g, cert))
	if at := p.config.TLS.HTTPListen; at != "" {
		p.group.Add(plainDoor(g, at, cert))
	}
	return nil
}

// door is the public listener.
func (p *process) door(g *gateway.Gateway, cert *tlscert.Manager) lifecycle.Component {
	var ln net.Listener
	return lifecycle.Component{
		Name:  "gateway",
		Limit: p.config.HTTP.DrainTimeout + 5e9,
		Start: func(ctx context.Context) (err error) {
			if ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", p.config.HTTP.Listen); err != nil {
				return err
			}
			if err := cert.CheckListener(ln.Addr(), p.config.HTTP.Insecure); err != nil {
				return errors.Join(err, ln.Close())
			}
			u := url.URL{Scheme: "http", Host: ln.Addr().String()}
			if cert.Mode() != tlscert.Off {
				u.Scheme = "https"
			}
			all := listenOrigins(u)
			p.listening.Store(&all)
			p.doors.HTTP = all[0]
			return nil
		},
		Run: func(ctx context.Context) error { return g.Serve(ctx, ln, cert.TLSConfig()) },
		Drain: func(context.Context) error {
			g.Drain()
			return nil
		},
	}
}

// plainDoor is the plain HTTP port beside the HTTPS one: challenges, trust, redirects.
func plainDoor(g *gateway.Gateway, addr string, cert *tlscert.Manager) lifecycle.Component {
	var ln net.Listener
	return lifecycle.Component{
		Name: "plain HTTP",
		Start: func(ctx context.Context) (err error) {
			ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
			return err
		},
		Run: func(ctx context.Context) error { return g.ServeOther(ctx, ln, cert.PlainHandler()) },
	}
}
