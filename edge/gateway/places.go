package gateway

import (
	"container/list"
	"net/netip"
	"sync"

	"github.com/segue-music/segue/internal/ratelimit"
)

const (
	// ranks is how finely clients are told apart by how many places they hold.
	ranks = 1024
	// unfair is how many more places one client holds than another before it has to give
	// one up to the other, even one that is in use.
	unfair = 8
)

// phase is what the holder of a place is doing. One that is not working may lose it to
// another: pending ones first, for a header takes a good client no time.
type phase uint8

const (
	pending phase = iota // in the handshake or the first header
	idle
	working
	phases
)

// places are so many, in all and per client network. A newcomer over a bound takes the
// place that is missed least: within its network the one that has been pending longest,
// else idle longest; in all, one of the greediest network, else the one that has waited
// longest. Where nobody can be asked to go, the newcomer is refused.
type places[T any] struct {
	most, mostPerClient int

	mu      sync.Mutex
	all     int
	clients map[netip.Addr]*client[T]
	byCount [ranks]list.List // of clients, by how many places they hold
	waiting list.List        // of places whose holders are not working, the longest first
}

// client is one network and its places by phase, the longest in it first.
type client[T any] struct {
	ip     netip.Addr
	exempt bool // from the bound per network, and from being greedy
	count  int
	held   [phases]list.List
	rank   *list.Element // in byCount[ranked]
	ranked int
}

// place is one that is held.
type place[T any] struct {
	holder T
	of     *places[T]
	client *client[T]
	phase  phase
	own    *list.Element // in the client's list
	queued *list.Element // in waiting
	gone   bool
}

func newPlaces[T any](most, mostPerClient int) *places[T] {
	return &places[T]{most: most, mostPerClient: max(1, mostPerClient), clients: map[netip.Addr]*client[T]{}}
}

// take makes room for a holder and admits it; p is nil where there is none. victim has
// lost its place for it; bound says which bound was met.
func (l *places[T]) take(ip netip.Addr, exempt bool, holder T, ph phase) (p, victim *place[T], bound string) {
	key := ratelimit.Network(ip)
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.client(key, exempt)
	switch {
	case !own.exempt && own.count >= l.mostPerClient:
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
		own = l.client(key, exempt) // it may have been the victim's last
	}
	l.all++
	p = &place[T]{holder: holder, of: l, client: own}
	p.enter(ph)
	own.count++
	l.rank(own)
	return p, victim, bound
}

// client finds the client of a network or makes one.
func (l *places[T]) client(key netip.Addr, exempt bool) *client[T] {
	c, ok := l.clients[key]
	if !ok {
		c = &client[T]{ip: key, exempt: exempt}
		l.clients[key] = c
	}
	return c
}

// leastMissed finds who is to go for a newcomer of own.
func (l *places[T]) leastMissed(own *client[T]) *place[T] {
	for i := ranks - 1; i > own.count+unfair; i-- {
		if e := l.byCount[i].Front(); e != nil {
			greedy, _ := e.Value.(*client[T])
			return greedy.oldest(phases)
		}
	}
	if e := l.waiting.Front(); e != nil {
		p, _ := e.Value.(*place[T])
		return p
	}
	return nil
}

// oldest is the place that has been longest in the first phase that has any, of those
// before the given one.
func (c *client[T]) oldest(before phase) *place[T] {
	for ph := range before {
		if e := c.held[ph].Front(); e != nil {
			p, _ := e.Value.(*place[T])
			return p
		}
	}
	return nil
}

// rank puts a client where its count belongs; it goes where there is none.
func (l *places[T]) rank(c *client[T]) {
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

func (l *places[T]) forget(c *client[T]) {
	if c.count == 0 {
		delete(l.clients, c.ip)
	}
}

// drop takes a place from its holder.
func (l *places[T]) drop(p *place[T]) {
	if p.gone {
		return
	}
	p.gone = true
	l.all--
	p.exit()
	p.client.count--
	l.rank(p.client)
}

// enter and exit keep the lists of a phase; the caller holds the lock.
func (p *place[T]) enter(ph phase) {
	p.phase = ph
	p.own = p.client.held[ph].PushBack(p)
	if ph != working {
		p.queued = p.of.waiting.PushBack(p)
	}
}

func (p *place[T]) exit() {
	p.client.held[p.phase].Remove(p.own)
	if p.queued != nil {
		p.of.waiting.Remove(p.queued)
		p.queued = nil
	}
}

// move notes what the holder does now.
func (p *place[T]) move(to phase) {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.gone || p.phase == to {
		return
	}
	p.exit()
	p.enter(to)
}

// leave gives the place back; one that was taken away already stays so.
func (p *place[T]) leave() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.drop(p)
}
