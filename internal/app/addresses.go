package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/segue-music/segue/internal/resilience"
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
	return p.getFrom(ctx, rt, base, self, target, path)
}

// each reads it of every instance of the target that answers.
func (p *process) each(ctx context.Context, self, target, path string) (answers [][]byte, err error) {
	rt, base := p.transport(target)
	ways := []http.RoundTripper{rt}
	if all, ok := rt.(*resilience.Instances); ok {
		if ways, err = all.Each(ctx); err != nil {
			return nil, err
		}
	}
	found, errs := make([][]byte, len(ways)), make([]error, len(ways))
	var wg sync.WaitGroup
	for i, way := range ways {
		wg.Go(func() { found[i], errs[i] = p.getFrom(ctx, way, base, self, target, path) })
	}
	wg.Wait()
	for i := range ways {
		if errs[i] == nil {
			answers = append(answers, found[i])
		}
	}
	if len(answers) == 0 {
		return nil, errors.Join(errs...)
	}
	return answers, nil
}

func (p *process) getFrom(ctx context.Context, rt http.RoundTripper, base *url.URL, self, target, path string) ([]byte, error) {
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
