package app

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/internal/rpc"
)

// rpcConfig says how processes reach each other.
type rpcConfig struct{ Listen, Peers string }

// RegisterFlags adds the settings under prefix.
func (c *rpcConfig) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Listen, prefix+".listen", "", "address for calls from other processes, on a private network; empty takes none")
	fs.StringVar(&c.Peers, prefix+".peers", "", "comma-separated target=URL of services in other processes; those that run in this one are passed over, so that all may share a list")
}

func (c *rpcConfig) peers() (map[string]string, error) {
	out := map[string]string{}
	for part := range strings.SplitSeq(c.Peers, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, at, _ := strings.Cut(part, "=")
		u, err := url.Parse(at)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || !slices.Contains(targetNames(), name) {
			return nil, fmt.Errorf("rpc.peers: %q is not target=http://host:port", part)
		}
		out[name] = strings.TrimSuffix(at, "/")
	}
	return out, nil
}

// newRemote carries calls to other processes over HTTP/2, in the clear or by TLS.
func newRemote() http.RoundTripper {
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS13},
		ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		Protocols:             &http.Protocols{},
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	t.Protocols.SetHTTP2(true)
	return t
}

// errNoTarget answers a call to a service that runs nowhere we know.
var errNoTarget = errors.New("service runs in no known process: see rpc.peers")

// transport reaches a target, in this process or in another. Which one is found at the
// call: services call each other in a circle.
func (p *process) transport(target string) (http.RoundTripper, *url.URL) {
	if at, ok := p.peers[target]; ok {
		u, err := url.Parse(at)
		if err == nil {
			return p.remote, u
		}
	}
	return localTransport{p, target}, &url.URL{Scheme: "http", Host: target + ".segue.internal"}
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

// serve puts a target's handler behind the check of who calls.
func (p *process) serve(target string, h http.Handler) {
	p.handlers[target] = p.server.Authenticate(target, h)
}

// dial makes what a generated client of target needs, for calls by self.
func dial[C any](p *process, self, target string, client func(connect.HTTPClient, string, ...connect.ClientOption) C) C {
	rt, base := p.transport(target)
	c := &rpc.Client{Self: self, Audience: target, Tokens: p.tokens, Transport: rt}
	return client(c, base.String(), connect.WithInterceptors(rpc.ClientInterceptor(), p.calls.Interceptor(self, target)))
}

// listenRPC serves the handlers to other processes; the path tells which is meant.
func (p *process) rpcHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, ok := p.handlers[targetOf(r.URL.Path)]; ok {
			h.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
}
