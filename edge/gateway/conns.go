package gateway

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/segue-music/segue/internal/ratelimit"
)

const (
	// ranks is how finely clients are told apart by how many connections they hold.
	ranks = 1024
	// unfair is how many more connections one client holds than another before it has to
	// give one up to the other, even one that is in use.
	unfair = 8
)

// phase is what an open connection is doing. One that is not working may be closed for
// another: pending ones first, for a header takes a good client no time.
type phase uint8

const (
	pending phase = iota // in the handshake or the first header
	idle
	working
	phases
)

// cappedListener bounds open connections, in all and per client network. A newcomer over
// a bound takes the place of the connection that is missed least: within the network the
// one that has been pending longest, else idle longest; in all, one of the greediest
// network, else the one that has waited longest. Where nobody can be asked to go, the
// newcomer is closed at once.
type cappedListener struct {
	net.Listener
	most, mostPerIP int
	trusted         prefixes // proxies carry many clients
	metrics         *metrics

	mu      sync.Mutex
	all     int
	clients map[netip.Addr]*client
	byCount [ranks]list.List // of clients, by how many connections they hold
	waiting list.List        // of connections that are not working, the longest first
}

// client is one network and its connections by phase, the longest in it first.
type client struct {
	ip     netip.Addr
	exempt bool // from the bound per network
	count  int
	conns  [phases]list.List
	rank   *list.Element // in byCount[ranked]
	ranked int
}

type cappedConn struct {
	net.Conn
	l      *cappedListener
	client *client
	phase  phase
	own    *list.Element // in the client's list
	queued *list.Element // in waiting
	gone   bool
}

func newCappedListener(ln net.Listener, c Config, trusted prefixes, m *metrics) *cappedListener {
	return &cappedListener{Listener: ln, most: c.MaxConns, mostPerIP: c.MaxConnsPerIP, trusted: trusted, metrics: m, clients: map[netip.Addr]*client{}}
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
			_ = victim.Conn.Close() // it is not wanted in any case
		}
		if c != nil {
			return c, nil
		}
		_ = conn.Close() // as above
	}
}

// take makes room for a connection and admits it; c is nil where there is none. victim
// is to be closed; bound says which bound was met.
func (l *cappedListener) take(conn net.Conn) (c, victim *cappedConn, bound string) {
	var ip netip.Addr
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		ip = ap.Addr().Unmap().WithZone("")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.client(ip)
	switch {
	case !own.exempt && own.count >= l.mostPerIP:
		bound, victim = "per_ip", own.oldest(working)
	case l.all >= l.most:
		bound, victim = "all", l.leastMissed(own)
	}
	if bound != "" && victim == nil {
		l.forget(own)
		return nil, nil, bound
	}
	if victim != nil {
		l.drop(victim)
		own = l.client(ip) // it may have been the victim's last
	}
	l.all++
	l.metrics.conns.Inc()
	c = &cappedConn{Conn: conn, l: l, client: own, phase: pending}
	c.own = own.conns[pending].PushBack(c)
	c.queued = l.waiting.PushBack(c)
	own.count++
	l.rank(own)
	return c, victim, bound
}

// client finds the client of an address or makes one.
func (l *cappedListener) client(ip netip.Addr) *client {
	key := ratelimit.Network(ip)
	c, ok := l.clients[key]
	if !ok {
		c = &client{ip: key, exempt: !ip.IsValid() || l.trusted.contain(ip)}
		l.clients[key] = c
	}
	return c
}

// leastMissed finds whom to close for a newcomer of own.
func (l *cappedListener) leastMissed(own *client) *cappedConn {
	for i := ranks - 1; i > own.count+unfair; i-- {
		if e := l.byCount[i].Front(); e != nil {
			greedy, _ := e.Value.(*client)
			return greedy.oldest(phases)
		}
	}
	if e := l.waiting.Front(); e != nil {
		c, _ := e.Value.(*cappedConn)
		return c
	}
	return nil
}

// oldest is the connection that has been longest in the first phase that has any, of
// those before the given one.
func (c *client) oldest(before phase) *cappedConn {
	for p := range before {
		if e := c.conns[p].Front(); e != nil {
			conn, _ := e.Value.(*cappedConn)
			return conn
		}
	}
	return nil
}

// rank puts a client where its count belongs; it goes where there is none.
func (l *cappedListener) rank(c *client) {
	if c.rank != nil {
		l.byCount[c.ranked].Remove(c.rank)
		c.rank = nil
	}
	if c.count > 0 && !c.exempt {
		c.ranked = min(c.count, ranks-1)
		c.rank = l.byCount[c.ranked].PushBack(c)
	}
	l.forget(c)
}

func (l *cappedListener) forget(c *client) {
	if c.count == 0 {
		delete(l.clients, c.ip)
	}
}

// drop takes a connection out of all lists.
func (l *cappedListener) drop(c *cappedConn) {
	if c.gone {
		return
	}
	c.gone = true
	l.all--
	l.metrics.conns.Dec()
	c.client.conns[c.phase].Remove(c.own)
	if c.queued != nil {
		l.waiting.Remove(c.queued)
	}
	c.client.count--
	l.rank(c.client)
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
			l.move(c, next)
			return
		}
		inner, ok := conn.(interface{ NetConn() net.Conn }) // TLS
		if !ok {
			return
		}
		conn = inner.NetConn()
	}
}

func (l *cappedListener) move(c *cappedConn, to phase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.gone || c.phase == to {
		return
	}
	c.client.conns[c.phase].Remove(c.own)
	c.own = c.client.conns[to].PushBack(c)
	c.phase = to
	if c.queued != nil {
		l.waiting.Remove(c.queued)
		c.queued = nil
	}
	if to != working {
		c.queued = l.waiting.PushBack(c)
	}
}

func (c *cappedConn) Close() error {
	c.l.mu.Lock()
	c.l.drop(c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}
