package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/internal/mtls"
	"github.com/segue-music/segue/internal/resilience"
	"github.com/segue-music/segue/internal/rpc"
)

// errNoTarget answers a call to a service that runs nowhere we know.
var errNoTarget = errors.New("service runs in no known process: see rpc.peers")

// transport reaches a target, in this process or in another. Which one is found at the
// call: services call each other in a circle.
func (p *process) transport(target string) (http.RoundTripper, *url.URL) {
	base := &url.URL{Scheme: "http", Host: mtls.Name(target)}
	if rt, ok := p.remotes[target]; ok {
		return rt, base
	}
	return localTransport{p, target}, base
}

type localTransport struct {
	p      *process
	target string
}

func (t localTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	h, ok := t.p.handlers[t.target]
	if !ok {
		return nil, fmt.Errorf("call %s: %w", t.target, errNoTarget)
	}
	return (&rpc.InProcess{Handler: h, Log: t.p.log}).RoundTrip(r)
}

// ServeHTTP serves http.Handler: see rpc.InProcess.
func (t localTransport) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, ok := t.p.handlers[t.target]
	if !ok {
		http.Error(w, errNoTarget.Error(), http.StatusServiceUnavailable)
		return
	}
	(&rpc.InProcess{Handler: h, Log: t.p.log}).ServeHTTP(w, r)
}

// serve puts a target's handler behind the check of who calls.
func (p *process) serve(target string, h http.Handler) {
	p.handlers[target] = p.server.Authenticate(target, h)
}

// dial makes what a generated client of target needs, for calls by self.
func dial[C any](p *process, self, target string, client func(connect.HTTPClient, string, ...connect.ClientOption) C) C {
	rt, base := p.transport(target)
	c := &rpc.Client{Self: self, Audience: target, Tokens: p.tokens, Transport: rt}
	around := []connect.Interceptor{rpc.ClientInterceptor(), p.calls.Interceptor(self, target)}
	if _, ok := p.remotes[target]; ok {
		around = append(around, resilience.NewRetry(target, p.retries))
	}
	return client(c, base.String(), connect.WithInterceptors(around...))
}

// addListeners adds the door for calls of other processes.
func (p *process) addListeners() error {
	if p.config.RPC.Listen == "" {
		return nil
	}
	door, err := rpc.NewDoor(p.config.RPC.MaxCalls, p.metrics, p.now)
	if err != nil {
		return fmt.Errorf("open rpc listener: %w", err)
	}
	var conf *tls.Config
	if p.mutual != nil {
		conf = p.mutual.Server()
	}
	p.listen("rpc", p.config.RPC.Listen, &p.doors.RPC, door.Guard(p.rpcHandler()), conf, true)
	return nil
}

// rpcHandler serves the handlers to other processes; the path tells which is meant.
func (p *process) rpcHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := p.handlers[targetOf(r.URL.Path)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if p.mutual != nil {
			r = r.WithContext(rpc.WithPeer(r.Context(), mtls.Targets(r.TLS)))
		}
		h.ServeHTTP(w, r)
	})
}
