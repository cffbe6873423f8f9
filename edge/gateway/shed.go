package gateway

import (
	"net/netip"
	"sync"
)

// shedder bounds how many requests are served at a time: in all; per target, so that one
// slow service does not take the door from the others; per client network, so that one
// client does not. Streams are counted apart.
type shedder struct {
	mu       sync.Mutex
	requests load
	streams  load
}

type load struct {
	most, mostPerTarget, mostPerClient int
	all                                int
	perTarget                          map[string]int
	perClient                          map[netip.Addr]int
}

func newShedder(c Config) *shedder {
	make1 := func(most, perTarget int) load {
		return load{
			most: most, mostPerTarget: max(1, perTarget), mostPerClient: max(1, most/4),
			perTarget: map[string]int{}, perClient: map[netip.Addr]int{},
		}
	}
	return &shedder{requests: make1(c.MaxRequests, c.MaxRequests/2), streams: make1(c.MaxStreams, c.MaxStreams)}
}

// enter takes a place, never waiting for one.
func (s *shedder) enter(target string, stream bool, client netip.Addr) (leave func(), ok bool) {
	l := &s.requests
	if stream {
		l = &s.streams
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.all >= l.most || l.perTarget[target] >= l.mostPerTarget || l.perClient[client] >= l.mostPerClient {
		return nil, false
	}
	l.all++
	l.perTarget[target]++
	l.perClient[client]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		l.all--
		l.perTarget[target]--
		if l.perClient[client]--; l.perClient[client] == 0 {
			delete(l.perClient, client)
		}
	}, true
}
