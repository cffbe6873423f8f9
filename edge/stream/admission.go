package stream

import (
	"container/list"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/ratelimit"
	"github.com/segue-music/segue/stream/server/overquic"
	"github.com/segue-music/segue/stream/wire"
)

const (
	// maxStrangers bounds the handshakes of addresses that nobody has verified yet. Each
	// costs memory for ten seconds at most, and its address may be forged. More of them are
	// told to come back by a Retry, which is answered without keeping anything (RFC 9000,
	// section 8.1): to an honest client it costs one round trip.
	maxStrangers, maxStrangersPerIP = 256, 32
	// maxHalfOpen bounds those of addresses that are verified, which nobody can forge. Both
	// bounds of one address grow with what it may hold in all.
	maxHalfOpen, maxHalfOpenPerIP = 2048, 16
	// perIPShare is which part of all handshakes one address may have, by rate.
	perIPShare = 8
)

var errFull = fault.New(fault.Exhausted, "too many connections")

// unfair is how many more connections one network holds than another before it has to
// give one up to the other.
const unfair = 8

// admission decides who may begin a handshake, and counts the connections from then on.
// A forged address never counts against its owner: only what is verified does. When there
// is no place left, one of the network that holds most goes.
type admission struct {
	cfg     *Config
	now     func() time.Time
	metrics *metrics
	rates   *ratelimit.Limiter
	all     ratelimit.Rate // handshakes without a Retry
	perIP   ratelimit.Rate

	mu        sync.Mutex
	conns     int // with those of strangers
	strangers int
	half      int // of verified addresses, in their handshake
	clients   map[netip.Addr]*places
	greedy    *places // which held most when it was last looked for, so many
	held      int
	looked    time.Time
}

// places are the connections of one network.
type places struct {
	proven  list.List // of *entrant, the oldest first
	half    int       // of those, the ones in their handshake
	strange int
}

// limitedNetworks are told apart: 1 MB.
const limitedNetworks = 1 << 16

// What a rate is counted by.
const (
	strangeAll uint8 = iota
	strangeIP
	provenIP
)

func newAdmission(cfg *Config, now func() time.Time, m *metrics) *admission {
	perIP := max(1, cfg.Handshakes/perIPShare)
	return &admission{
		cfg: cfg, now: now, metrics: m, rates: ratelimit.New(now(), limitedNetworks), clients: map[netip.Addr]*places{},
		all:   ratelimit.PerSecond(float64(cfg.Handshakes), 2*cfg.Handshakes),
		perIP: ratelimit.PerSecond(float64(perIP), max(2*perIP, cfg.MaxConnsPerIP)),
	}
}

// verify reports whether an address has to prove itself by a Retry first.
func (a *admission) verify(addr net.Addr) bool {
	ip, now := networkOf(addr), a.now()
	a.mu.Lock()
	crowded := a.strangers >= maxStrangers || a.conns >= a.cfg.MaxConns
	if p := a.clients[ip]; p != nil {
		crowded = crowded || p.strange >= max(maxStrangersPerIP, a.cfg.MaxConnsPerIP/8)
	}
	a.mu.Unlock()
	if !crowded {
		if _, ok := a.rates.Take(now, a.rates.Address(strangeIP, ip), a.perIP, 1); ok {
			if _, ok = a.rates.Take(now, a.rates.Name(strangeAll, ""), a.all, 1); ok {
				return false
			}
		}
	}
	a.metrics.retries.Inc()
	return true
}

type entrantKey struct{}

// entrant is one connection's place in the books.
type entrant struct {
	a      *admission
	ip     netip.Addr
	at     *list.Element // among the proven ones of its network; nil for a stranger
	conn   *quic.Conn    // once it is accepted
	half   bool          // counted among those in their handshake
	gone   bool          // out of the books
	victim bool          // it had to go for another
}

// begin admits a handshake; it is a quic.Transport.ConnContext. The context that it is
// given ends with the connection.
func (a *admission) begin(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	e := &entrant{a: a, ip: networkOf(info.RemoteAddr)}
	if info.AddrVerified {
		if _, ok := a.rates.Take(a.now(), a.rates.Address(provenIP, e.ip), a.perIP, 1); !ok {
			a.metrics.turned.WithLabelValues("rate").Inc()
			return nil, errFull
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.room(e.ip, info.AddrVerified) {
		a.metrics.turned.WithLabelValues("places").Inc()
		return nil, errFull
	}
	a.conns++
	e.enter(info.AddrVerified)
	if info.AddrVerified {
		e.half = true
		a.clients[e.ip].half++
		a.half++
	}
	context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		e.leave()
	})
	return context.WithValue(ctx, entrantKey{}, e), nil
}

// room reports whether there is a place for one more handshake, and makes one if it can.
func (a *admission) room(ip netip.Addr, verified bool) bool {
	if !verified {
		return a.conns < a.cfg.MaxConns
	}
	if !a.fits(ip) || a.half >= maxHalfOpen || a.halfOpen(ip) >= max(maxHalfOpenPerIP, a.cfg.MaxConnsPerIP/16) {
		return false
	}
	return a.conns < a.cfg.MaxConns || a.evict(ip)
}

// fits reports whether a network may hold one connection more.
func (a *admission) fits(ip netip.Addr) bool {
	p := a.clients[ip]
	return p == nil || p.proven.Len() < a.cfg.MaxConnsPerIP
}

func (a *admission) halfOpen(ip netip.Addr) int {
	if p := a.clients[ip]; p != nil {
		return p.half
	}
	return 0
}

// prove waits for the handshake of a connection, which proves its address. It is false
// when the connection has to go.
func (a *admission) prove(conn *quic.Conn) bool {
	e, ok := conn.Context().Value(entrantKey{}).(*entrant)
	if !ok {
		return false
	}
	if !e.accepted(conn) {
		return false
	}
	select {
	case <-conn.HandshakeComplete():
	case <-conn.Context().Done():
		return true // nobody is left to be refused
	}
	return e.prove()
}

// accepted notes whom to close when it has to go; false when it had to already.
func (e *entrant) accepted(conn *quic.Conn) bool {
	e.a.mu.Lock()
	defer e.a.mu.Unlock()
	e.conn = conn
	return !e.victim
}

// prove books a stranger under its address.
func (e *entrant) prove() (fits bool) {
	e.a.mu.Lock()
	defer e.a.mu.Unlock()
	e.settle()
	if e.at != nil || e.gone {
		return !e.victim
	}
	if !e.a.fits(e.ip) {
		e.a.metrics.turned.WithLabelValues("places").Inc()
		return false
	}
	e.exit()
	e.enter(true)
	return true
}

// evict makes a place for a network by closing the oldest connection of the one that
// holds most, if that is much more. In vain it looks for that one once a second only.
func (a *admission) evict(ip netip.Addr) bool {
	least := unfair
	if p := a.clients[ip]; p != nil {
		least += p.proven.Len()
	}
	if a.greedy == nil || a.greedy.proven.Len() <= least {
		now := a.now()
		if least >= a.held && now.Sub(a.looked).Abs() < time.Second {
			return false
		}
		a.greedy, a.held, a.looked = nil, 0, now
		for _, p := range a.clients {
			if n := p.proven.Len(); n > a.held {
				a.greedy, a.held = p, n
			}
		}
	}
	if a.greedy == nil || a.greedy.proven.Len() <= least {
		return false
	}
	e, ok := a.greedy.proven.Front().Value.(*entrant)
	if !ok {
		return false
	}
	e.victim = true
	e.leave()
	a.metrics.turned.WithLabelValues("victim").Inc()
	if e.conn != nil {
		go func() { _ = overquic.Close(e.conn, wire.RateLimited) }() // it goes either way
	}
	return true
}

// open is how many connections there are, half-open ones with them.
func (a *admission) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conns
}

// enter counts the connection under its network, exit takes it out, leave for good; the
// caller holds the lock.
func (e *entrant) enter(proven bool) {
	p := e.a.clients[e.ip]
	if p == nil {
		p = &places{}
		e.a.clients[e.ip] = p
	}
	if proven {
		e.at = p.proven.PushBack(e)
		return
	}
	p.strange++
	e.a.strangers++
	e.a.metrics.strangers.Set(float64(e.a.strangers))
}

// settle ends the count among those in their handshake.
func (e *entrant) settle() {
	if e.half {
		e.half = false
		e.a.clients[e.ip].half--
		e.a.half--
	}
}

func (e *entrant) exit() {
	e.settle()
	p := e.a.clients[e.ip]
	if e.at != nil {
		p.proven.Remove(e.at)
	} else {
		p.strange--
		e.a.strangers--
		e.a.metrics.strangers.Set(float64(e.a.strangers))
	}
	if p.strange == 0 && p.proven.Len() == 0 {
		delete(e.a.clients, e.ip)
	}
}

func (e *entrant) leave() {
	if e.gone {
		return
	}
	e.gone = true
	e.a.conns--
	e.exit()
}

// networkOf is the address, or its /64 for IPv6, of which one subscriber has many.
func networkOf(a net.Addr) netip.Addr {
	if u, ok := a.(*net.UDPAddr); ok {
		return ratelimit.Network(u.AddrPort().Addr())
	}
	return netip.Addr{}
}
