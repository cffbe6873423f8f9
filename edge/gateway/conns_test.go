package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// pipe is a connection that only has an address and can be closed.
type pipe struct {
	net.Conn
	from   net.Addr
	closed bool
}

func (p *pipe) RemoteAddr() net.Addr { return p.from }

func (p *pipe) Close() error {
	p.closed = true
	return nil
}

// crowd drives a listener without a socket.
type crowd struct {
	l    *cappedListener
	open []*cappedConn
}

func newCrowd(tb testing.TB, most, perIP int, trusted string) *crowd {
	tb.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		tb.Fatal(err)
	}
	nets, err := parsePrefixes(trusted)
	if err != nil {
		tb.Fatal(err)
	}
	return &crowd{l: newCappedListener(nil, Config{MaxConns: most, MaxConnsPerIP: perIP}, nets, m)}
}

// come connects from an address; c is nil when it was refused, victim who went for it.
func (w *crowd) come(ip string) (c, victim *cappedConn) {
	at := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1))
	c, victim, _ = w.l.take(&pipe{from: at})
	if victim != nil {
		_ = victim.Close()
		w.open = slices.DeleteFunc(w.open, func(o *cappedConn) bool { return o == victim })
	}
	if c != nil {
		w.open = append(w.open, c)
	}
	return c, victim
}

func TestConns_OneAddress(t *testing.T) {
	w := newCrowd(t, 100, 3, "")
	a, _ := w.come("192.0.2.1")
	b, _ := w.come("192.0.2.1")
	c, _ := w.come("192.0.2.1")
	w.l.state(a, http.StateActive)
	w.l.state(b, http.StateActive)
	w.l.state(b, http.StateIdle)
	if _, victim := w.come("192.0.2.1"); victim != c {
		t.Error("the pending one does not go first")
	}
	w.l.state(w.open[2], http.StateActive)
	d, victim := w.come("192.0.2.1")
	if victim != b {
		t.Error("the idle one does not go next")
	}
	w.l.state(d, http.StateActive)
	if e, victim := w.come("192.0.2.1"); e != nil || victim != nil {
		t.Error("one that is in use goes for another of its address")
	}
	if e, victim := w.come("192.0.2.2"); e == nil || victim != nil {
		t.Error("another address meets the bound")
	}
	_ = a.Close()
	_ = a.Close()
	if e, victim := w.come("192.0.2.1"); e == nil || victim != nil {
		t.Error("the place of a closed one is not free")
	}
}

// TestConns_Greedy: whoever holds many gives up one to whoever holds few, in use or not;
// where all hold few, the one that has waited longest goes, and one in use never.
func TestConns_Greedy(t *testing.T) {
	w := newCrowd(t, 40, 30, "198.51.100.0/24")
	for range 30 {
		c, _ := w.come("2001:db8::1")
		w.l.state(c, http.StateActive)
	}
	for i := range 10 {
		c, _ := w.come(fmt.Sprintf("192.0.2.%d", i))
		w.l.state(c, http.StateActive)
		w.l.state(c, http.StateIdle)
	}
	c, victim := w.come("192.0.2.99")
	if c == nil || victim == nil || victim.place.client.ip != netip.MustParseAddr("2001:db8::") {
		t.Fatal("the greedy one keeps all while another finds no place")
	}
	if c, victim := w.come("2001:db8::2"); c != nil || victim != nil {
		// 29 of its own in use and at no bound of its own: the idle of others are not less
		// wanted than its thirtieth, but neither more.
		if victim == nil || victim.place.phase != idle {
			t.Error("another's connection in use goes for the greedy one")
		}
	}
	few := newCrowd(t, 3, 3, "")
	for i := range 3 {
		c, _ := few.come(fmt.Sprintf("192.0.2.%d", i))
		few.l.state(c, http.StateActive)
	}
	few.l.state(few.open[1], http.StateIdle)
	if c, victim := few.come("192.0.2.50"); c == nil || victim == nil || victim.place.client.ip != netip.MustParseAddr("192.0.2.1") {
		t.Error("the idle one does not go")
	}
	few.l.state(few.open[2], http.StateActive)
	if c, _ := few.come("192.0.2.51"); c != nil {
		t.Error("one in use of a modest client goes")
	}
	proxy := newCrowd(t, 100, 2, "198.51.100.0/24")
	for range 50 {
		if c, victim := proxy.come("198.51.100.7"); c == nil || victim != nil {
			t.Fatal("a trusted proxy meets the bound of one client")
		}
	}
}

// TestConns_Accounts: whatever happens, the books are right and the bounds hold.
func TestConns_Accounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most, perIP := rapid.IntRange(1, 30).Draw(t, "most"), rapid.IntRange(1, 15).Draw(t, "per IP")
		m, _ := newMetrics(nil)
		w := &crowd{l: newCappedListener(nil, Config{MaxConns: most, MaxConnsPerIP: perIP}, nil, m)}
		t.Repeat(map[string]func(*rapid.T){
			"come": func(t *rapid.T) {
				before := len(w.open)
				c, victim := w.come(fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 4).Draw(t, "ip")))
				if c == nil && before < most && len(w.l.places.clients) == 0 {
					t.Fatal("refused with nobody there")
				}
				if victim != nil && c == nil {
					t.Fatal("somebody went for nobody")
				}
			},
			"move": func(t *rapid.T) {
				if len(w.open) == 0 {
					t.Skip()
				}
				c := rapid.SampledFrom(w.open).Draw(t, "conn")
				w.l.state(c, rapid.SampledFrom([]http.ConnState{http.StateNew, http.StateActive, http.StateIdle}).Draw(t, "to"))
			},
			"close": func(t *rapid.T) {
				if len(w.open) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(w.open)-1).Draw(t, "conn")
				_ = w.open[i].Close()
				w.open = slices.Delete(w.open, i, i+1)
			},
			"": func(t *rapid.T) {
				counts, waiting, ranked := map[netip.Addr]int{}, 0, 0
				for _, c := range w.open {
					counts[c.place.client.ip]++
					if c.place.phase != working {
						waiting++
					}
					if c.Conn.(*pipe).closed { //nolint:forcetypeassert // of this test
						t.Fatal("closed and kept")
					}
				}
				for i := range w.l.places.byCount {
					for e := w.l.places.byCount[i].Front(); e != nil; e = e.Next() {
						if e.Value.(*client[*cappedConn]).count != i { //nolint:forcetypeassert // of this test
							t.Fatal("wrong rank")
						}
						ranked++
					}
				}
				if w.l.places.all != len(w.open) || w.l.places.all > most || w.l.places.waiting.Len() != waiting || ranked != len(counts) || len(w.l.places.clients) != len(counts) {
					t.Fatalf("all %d of %d, waiting %d of %d, clients %d ranked %d of %d", w.l.places.all, len(w.open), w.l.places.waiting.Len(), waiting,
						len(w.l.places.clients), ranked, len(counts))
				}
				for ip, c := range w.l.places.clients {
					if c.count != counts[ip] || c.count > perIP {
						t.Fatalf("%s has %d, counted %d, at most %d", ip, counts[ip], c.count, perIP)
					}
				}
			},
		})
	})
}
