package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/tlscert"
)

// certificate is the server's, made once for the gateway and the edge.
func (p *process) certificate() (*tlscert.Manager, error) {
	if p.cert != nil {
		return p.cert, nil
	}
	cert, err := tlscert.New(tlscert.Deps{
		Config: p.config.TLS, Dir: p.ring.Dir(), Listen: p.config.HTTP.Listen, Log: p.log, Now: p.now,
	})
	if err != nil {
		return nil, err
	}
	p.cert = cert
	p.run("certificate", cert.Run)
	return cert, nil
}

// publicURL is where browsers reach the gateway: as configured, or where it listens.
func (p *process) publicURL() string {
	if u := p.config.PublicURL; u != "" {
		return strings.TrimSuffix(u, "/")
	}
	return p.doors.HTTP
}

// origins are all origins of the web player: the public one, and the names of this
// machine that lead to the same listener.
func (p *process) origins() []string {
	out := []string{p.publicURL()}
	u, err := url.Parse(p.doors.HTTP)
	if err != nil || u.Host == "" {
		return out
	}
	hosts := []string{u.Hostname()}
	if ip := net.ParseIP(u.Hostname()); ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		hosts = append(hosts, "localhost", "127.0.0.1")
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			hosts = append(hosts, name, name+".local")
		}
		addrs, _ := net.InterfaceAddrs() // without them the loopback names still work
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
				hosts = append(hosts, n.IP.String())
			}
		}
	}
	for _, h := range hosts {
		o := u.Scheme + "://" + net.JoinHostPort(h, u.Port())
		if !strings.Contains(h, ":") {
			o = u.Scheme + "://" + h + ":" + u.Port()
		}
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

// fetchKeys reads the public keys of access tokens from the user service.
func (p *process) fetchKeys(ctx context.Context) ([]byte, error) {
	return p.get(ctx, "gateway", "user", "/.well-known/jwks.json")
}

// get reads a small plain answer of another target.
func (p *process) get(ctx context.Context, self, target, path string) ([]byte, error) {
	rt, base := p.transport(target)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, err
	}
	res, err := (&rpc.Client{Self: self, Audience: target, Tokens: p.tokens, Transport: rt}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("get %s of %s: %w", path, target, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s of %s: status %d", path, target, res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, 1<<20))
}

func decode[T any](b []byte, err error) (T, error) {
	var v T
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	return v, err
}
