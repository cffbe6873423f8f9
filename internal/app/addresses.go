package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

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
	if err := p.metrics.Register(cert.Metrics()); err != nil {
		return nil, fmt.Errorf("register certificate metrics: %w", err)
	}
	p.cert = cert
	p.run("certificate", cert.Run)
	return cert, nil
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
