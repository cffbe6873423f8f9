package app

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/segue-music/segue/internal/mtls"
	"github.com/segue-music/segue/internal/resilience"
)

// rpcConfig says how processes reach each other.
type rpcConfig struct {
	Listen, Peers string
	Certificates  mtls.Files
}

// RegisterFlags adds the settings under prefix.
func (c *rpcConfig) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Listen, prefix+".listen", "", "address for calls from other processes, on a private network; empty takes none")
	fs.StringVar(&c.Peers, prefix+".peers", "", "comma-separated target=URL of services in other processes, once for each instance; dns+https://host:port stands for every address of the host. Those that run in this one are passed over, so that all may share a list")
	fs.StringVar(&c.Certificates.Cert, prefix+".cert.file", "", "certificate of this process in PEM, with a name TARGET.segue.internal for each of its targets; with it calls are by TLS, both ways, and nobody is called by another name than its certificate's")
	fs.StringVar(&c.Certificates.Key, prefix+".key.file", "", "its private key in PEM")
	fs.StringVar(&c.Certificates.CA, prefix+".ca.file", "", "certificate in PEM of the authority that signs those of all processes")
}

// peers are the base URLs of the instances of each target.
func (c *rpcConfig) peers() (map[string][]string, error) {
	out := map[string][]string{}
	for part := range strings.SplitSeq(c.Peers, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, at, _ := strings.Cut(part, "=")
		u, err := url.Parse(strings.TrimPrefix(at, "dns+"))
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" || !slices.Contains(targetNames(), name) {
			return nil, fmt.Errorf("rpc.peers: %q is not target=http://host:port", part)
		}
		if (u.Scheme == "https") == c.Certificates.None() {
			return nil, fmt.Errorf("rpc.peers: %q: calls are by https with rpc.cert.file, and by http without", part)
		}
		out[name] = append(out[name], strings.TrimSuffix(at, "/"))
	}
	return out, nil
}

// outward is what calls to other processes need.
type outward struct {
	remotes map[string]http.RoundTripper // to the instances of a target
	retries *resilience.Metrics
	mutual  *mtls.Identity // nil where calls are in the clear
}

// openRemotes makes the ways to every target that runs elsewhere.
func (p *process) openRemotes() error {
	peers, err := p.config.RPC.peers()
	if err != nil {
		return err
	}
	m, err := resilience.NewMetrics(p.metrics)
	if err != nil {
		return fmt.Errorf("set up calls: %w", err)
	}
	if f := p.config.RPC.Certificates; !f.None() {
		own, err := parseTargets(p.config.Target)
		if err != nil {
			return err
		}
		p.mutual, err = mtls.Open(f, own, p.now, func(err error) {
			p.log.Error("the renewed certificate for calls is not usable, the old one stays", "err", err)
		})
		if err != nil {
			return fmt.Errorf("set up calls: %w", err)
		}
	}
	p.remotes, p.retries = map[string]http.RoundTripper{}, m
	for name, bases := range peers {
		if p.config.runs(name) {
			continue // processes may share one list: what runs here is called here
		}
		var conf *tls.Config
		if p.mutual != nil {
			conf = p.mutual.Client(name)
		}
		if p.remotes[name], err = resilience.NewInstances(name, bases, newRemote(conf), m); err != nil {
			return err
		}
	}
	return nil
}

// newRemote carries calls to other processes over HTTP/2: by TLS, or without a
// configuration for it in the clear.
func newRemote(conf *tls.Config) http.RoundTripper {
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       conf,
		TLSHandshakeTimeout:   3 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		Protocols:             &http.Protocols{},
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	t.Protocols.SetUnencryptedHTTP2(conf == nil)
	t.Protocols.SetHTTP2(conf != nil)
	return t
}
