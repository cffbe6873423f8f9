package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// Balancer stands before the gateways, as a load balancer does: requests go round those
// that say they are ready, and one that takes no connection is passed over.
type Balancer struct {
	gateways []*upstream
	turn     atomic.Uint64
	server   *http.Server
	next     *http.Transport
	stop     context.CancelFunc
}

type upstream struct {
	url   *url.URL
	ready atomic.Bool
}

const (
	// lookEvery is how often a gateway is asked whether it is ready.
	lookEvery = 250 * time.Millisecond
	// keepMost is how much of a request is kept to be sent again, when a gateway that ends
	// has not taken it.
	keepMost = 1 << 20
)

// Balance listens on the plan's public address.
func Balance(ctx context.Context, p *Plan) (*Balancer, error) {
	b := &Balancer{next: &http.Transport{
		DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, Protocols: &http.Protocols{}, MaxIdleConnsPerHost: 100,
	}}
	b.next.Protocols.SetUnencryptedHTTP2(true)
	for _, at := range p.Gateways {
		u, err := url.Parse(at)
		if err != nil {
			return nil, fmt.Errorf("balance: %w", err)
		}
		one := &upstream{url: u}
		one.ready.Store(true)
		b.gateways = append(b.gateways, one)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.Public)
	if err != nil {
		return nil, fmt.Errorf("balance: %w", err)
	}
	b.server = &http.Server{Handler: b.proxy(), Protocols: &http.Protocols{}, ReadHeaderTimeout: 5 * time.Second}
	b.server.Protocols.SetHTTP1(true)
	b.server.Protocols.SetUnencryptedHTTP2(true)
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, one := range b.gateways {
		go b.look(ctx, one)
	}
	go func() { _ = b.server.Serve(ln) }() // until Close
	return b, nil
}

// Close ends it.
func (b *Balancer) Close() error {
	b.stop()
	err := b.server.Close()
	b.next.CloseIdleConnections()
	return err
}

func (b *Balancer) proxy() http.Handler {
	return &httputil.ReverseProxy{
		Transport: b, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "gateway"
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
}

// look asks a gateway whether it is ready.
func (b *Balancer) look(ctx context.Context, one *upstream) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, one.url.JoinPath("/readyz").String(), http.NoBody)
		if err != nil {
			return // the URL is ours and sound
		}
		res, err := b.next.RoundTrip(req)
		if err == nil {
			err = res.Body.Close()
		}
		one.ready.Store(err == nil && res.StatusCode == http.StatusOK)
	}
}

// RoundTrip implements http.RoundTripper.
func (b *Balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := keep(req); err != nil {
		return nil, err
	}
	var last error
	for _, one := range b.order() {
		out := req.Clone(req.Context())
		out.URL.Scheme, out.URL.Host = one.url.Scheme, one.url.Host
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			out.Body = body
		}
		res, err := b.next.RoundTrip(out)
		if err == nil {
			return res, nil
		}
		last = err
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" {
			break
		}
		one.ready.Store(false)
	}
	return nil, last
}

// order is every gateway, those that are ready first, another one each time.
func (b *Balancer) order() (out []*upstream) {
	var others []*upstream
	from := int(b.turn.Add(1) % uint64(len(b.gateways)))
	for i := range b.gateways {
		one := b.gateways[(from+i)%len(b.gateways)]
		if one.ready.Load() {
			out = append(out, one)
		} else {
			others = append(others, one)
		}
	}
	return append(out, others...)
}

// keep reads a small body, so that it can be sent again.
func keep(req *http.Request) error {
	if req.Body == nil || req.ContentLength < 0 || req.ContentLength > keepMost {
		return nil
	}
	all, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(all)), nil }
	return nil
}
