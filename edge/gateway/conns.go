package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// cappedListener bounds open connections, in all and per client network; see [places].
type cappedListener struct {
	net.Listener
	trusted prefixes // proxies carry many clients
	metrics *metrics
	places  *places[*cappedConn]
}

type cappedConn struct {
	net.Conn
	l     *cappedListener
	place *place[*cappedConn]
	once  sync.Once
}

func newCappedListener(ln net.Listener, c Config, trusted prefixes, m *metrics) *cappedListener {
	return &cappedListener{Listener: ln, trusted: trusted, metrics: m, places: newPlaces[*cappedConn](c.MaxConns, c.MaxConnsPerIP)}
}

// Accept closes what has to go and what has no place, and goes on.
func (l *cappedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c, victim, bound := l.take(conn)
		if bound != "" {
			l.metrics.turned.WithLabelValues(bound).Inc()
		}
		if victim != nil {
			_ = victim.Close() // it is not wanted in any case
		}
		if c != nil {
			boundUnsent(conn)
			return c, nil
		}
		_ = conn.Close() // as above
	}
}

// take admits a connection, if need be in the place of another; c is nil where there is
// no place.
func (l *cappedListener) take(conn net.Conn) (c, victim *cappedConn, bound string) {
	var ip netip.Addr
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		ip = ap.Addr().Unmap().WithZone("")
	}
	c = &cappedConn{Conn: conn, l: l}
	at, out, bound := l.places.take(ip, !ip.IsValid() || l.trusted.contain(ip), c, pending)
	if out != nil {
		victim = out.holder
	}
	if at == nil {
		return nil, victim, bound
	}
	c.place = at
	l.metrics.conns.Inc()
	return c, victim, bound
}

// state follows what the server says of its connections; it is an http.Server.ConnState.
func (l *cappedListener) state(conn net.Conn, to http.ConnState) {
	var next phase
	switch to {
	case http.StateActive:
		next = working
	case http.StateIdle:
		next = idle
	case http.StateNew, http.StateHijacked, http.StateClosed:
		return
	}
	for {
		if c, ok := conn.(*cappedConn); ok {
			c.place.move(next)
			return
		}
		inner, ok := conn.(interface{ NetConn() net.Conn }) // TLS
		if !ok {
			return
		}
		conn = inner.NetConn()
	}
}

func (c *cappedConn) Close() error {
	c.once.Do(func() {
		c.place.leave()
		c.l.metrics.conns.Dec()
	})
	return c.Conn.Close()
}
