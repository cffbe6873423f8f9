package gateway

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// retryAfter is when one that was turned away is told to come again.
const retryAfter = time.Second

// patience is what a connection is held to after a refusal: whoever asks again before the
// time that it was told waits until then, and is looked at anew. A refusal costs the server
// a tenth of a request, so clients that ask again at once could make it do nothing else;
// one that waits costs it a timer. Connections of trusted proxies have none: they carry
// the requests of many.
type patience struct {
	since time.Time
	until atomic.Int64 // nanoseconds after since
}

type patienceKey struct{}

// withPatience is an http.Server.ConnContext.
func (g *Gateway) withPatience(ctx context.Context, c net.Conn) context.Context {
	if peer, err := netip.ParseAddrPort(c.RemoteAddr().String()); err != nil || g.trusted.contain(peer.Addr().Unmap().WithZone("")) {
		return ctx
	}
	return context.WithValue(ctx, patienceKey{}, &patience{since: time.Now()})
}

// wait returns when the connection may be refused again, or its client has gone; held says
// that this took a while.
func (p *patience) wait(ctx context.Context, ends <-chan struct{}) (held bool) {
	left := time.Duration(p.until.Load()) - time.Since(p.since)
	if left <= 0 {
		return false
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-ends:
	}
	return true
}

// refused notes a refusal.
func (p *patience) refused() { p.until.Store(int64(time.Since(p.since) + retryAfter)) }
