package app

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/segue-music/segue/internal/mtls"
	"github.com/segue-music/segue/internal/resilience"
)

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
