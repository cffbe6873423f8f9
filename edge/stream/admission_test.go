package stream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"pgregory.net/rapid"
)

func udp(ip string) net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1))
}

func newDoor(tb testing.TB, cfg Config, now func() time.Time) *admission {
	tb.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return newAdmission(&cfg, now, m)
}

// handshake is one that has begun.
type handshake struct {
	*entrant
	end context.CancelFunc
}

func (a *admission) knock(ip string, verified bool) *handshake {
	ctx, cancel := context.WithCancel(context.Background())
	ctx, err := a.begin(ctx, &quic.ClientInfo{RemoteAddr: udp(ip), AddrVerified: verified})
	if err != nil {
		cancel()
		return nil
	}
	return &handshake{ctx.Value(entrantKey{}).(*entrant), cancel} //nolint:forcetypeassert // begin has put it there
}

// TestAdmission_Strangers: handshakes that prove nothing are few at a time, of one address
// and of all; more are asked for proof, and with it they come in. When they have ended,
// nobody is asked any more.
func TestAdmission_Strangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDoor(t, Config{Handshakes: 1000, MaxConns: 10_000, MaxConnsPerIP: 100}, time.Now)
		var all []*handshake
		for i := 0; a.strangers < maxStrangers; i++ {
			ip := fmt.Sprintf("192.0.2.%d", i%200)
			if a.verify(udp(ip)) {
				t.Fatalf("asked for proof with %d strangers", a.strangers)
			}
			all = append(all, a.knock(ip, false))
		}
		if !a.verify(udp("198.51.100.1")) {
			t.Error("another stranger is let in beyond the bound")
		}
		known := a.knock("198.51.100.1", true)
		if known == nil {
			t.Fatal("whoever has proved its address is refused")
		}
		if !all[0].prove() || a.strangers != maxStrangers-1 || a.clients[all[0].ip].proven.Len() != 1 {
			t.Error("who completes the handshake is still a stranger")
		}
		for _, h := range append(all, known) {
			h.end()
		}
		synctest.Wait()
		if a.conns != 0 || a.strangers != 0 || len(a.clients) != 0 {
			t.Errorf("%d connections, %d strangers, %d clients are left", a.conns, a.strangers, len(a.clients))
		}
		time.Sleep(time.Second) //nolint:forbidigo // in a bubble it only turns the clock
		if a.verify(udp("198.51.100.1")) {
			t.Error("asked for proof when the flood is over")
		}
	})
}

// TestAdmission_Forged: whoever forges the address of another takes nothing from it but a
// round trip.
func TestAdmission_Forged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDoor(t, Config{Handshakes: 1000, MaxConns: 10_000, MaxConnsPerIP: 4}, time.Now)
		var forged []*handshake
		for range 1000 {
			if !a.verify(udp("192.0.2.1")) {
				forged = append(forged, a.knock("192.0.2.1", false))
			}
		}
		if len(forged) != maxStrangersPerIP {
			t.Errorf("%d handshakes of one address without proof, want %d", len(forged), maxStrangersPerIP)
		}
		if a.verify(udp("192.0.2.2")) {
			t.Error("its neighbour is asked for proof")
		}
		for range 4 {
			if a.knock("192.0.2.1", true) == nil {
				t.Fatal("the owner is locked out")
			}
		}
		if a.knock("192.0.2.1", true) != nil {
			t.Error("a fifth connection of an address that may have four")
		}
		if forged[0].prove() {
			t.Error("one that proves itself late is a fifth")
		}
		for _, h := range forged {
			h.end()
		}
		synctest.Wait()
	})
}

// TestAdmission_HalfOpen: an address that is verified and says nothing more has few
// handshakes at a time; one that goes on has all its connections.
func TestAdmission_HalfOpen(t *testing.T) {
	a := newDoor(t, Config{Handshakes: 1 << 20, MaxConns: 10_000, MaxConnsPerIP: 100}, time.Now)
	var silent []*handshake
	for {
		h := a.knock("192.0.2.1", true)
		if h == nil {
			break
		}
		silent = append(silent, h)
	}
	if len(silent) != maxHalfOpenPerIP {
		t.Errorf("%d half-open handshakes, want %d", len(silent), maxHalfOpenPerIP)
	}
	for range 100 {
		if h := a.knock("192.0.2.2", true); h == nil || !h.prove() {
			t.Fatal("its neighbour is refused")
		}
	}
	if !silent[0].prove() || a.knock("192.0.2.1", true) == nil {
		t.Error("no place for another when one is complete")
	}
}

// TestAdmission_Rate: one address has its part of the handshakes, with proof or without.
func TestAdmission_Rate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newDoor(t, Config{Handshakes: 80, MaxConns: 10_000, MaxConnsPerIP: 20}, time.Now)
		in := 0
		for range 1000 { // 10 s
			if h := a.knock("192.0.2.1", true); h != nil {
				in++
				h.end()
			}
			synctest.Wait()
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // as above
		}
		if in < 110 || in > 121 {
			t.Errorf("%d handshakes in 10 s at 10 a second and 20 at once", in)
		}
		if a.knock("192.0.2.2", true) == nil {
			t.Error("its neighbour is refused")
		}
	})
}

// TestAdmission_Room: however many addresses are greedy, one more finds a place; where
// all are modest, nobody goes for another.
func TestAdmission_Room(t *testing.T) {
	a := newDoor(t, Config{Handshakes: 1 << 20, MaxConns: 2000, MaxConnsPerIP: 256}, time.Now)
	var all []*handshake
	for i := range 60 {
		for range 300 {
			if h := a.knock(fmt.Sprintf("192.0.2.%d", i), true); h != nil {
				h.prove()
				all = append(all, h)
			}
		}
	}
	for i := range 200 {
		if a.conns != 2000 || !a.verify(udp("198.51.100.1")) || a.knock("198.51.100.1", false) != nil {
			t.Fatal("full, and no proof is asked for")
		}
		if h := a.knock(fmt.Sprintf("198.51.100.%d", i), true); h == nil || !h.prove() {
			t.Fatalf("no place for newcomer %d", i)
		}
	}
	victims := 0
	for _, h := range all {
		if h.victim {
			victims++
			if h.accepted(nil) || h.prove() {
				t.Fatal("a victim may stay")
			}
		}
	}
	if victims < 200 {
		t.Errorf("%d connections have gone for 200", victims)
	}
	modest := newDoor(t, Config{Handshakes: 1 << 20, MaxConns: 10, MaxConnsPerIP: 256}, time.Now)
	for i := range 10 {
		modest.knock(fmt.Sprintf("192.0.2.%d", i/5), true)
	}
	if modest.knock("198.51.100.1", true) != nil {
		t.Error("a modest one goes for another")
	}
}

// TestAdmission_Accounts: whatever happens, the books are right.
func TestAdmission_Accounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, _ := newMetrics(nil)
		cfg := Config{Handshakes: 1 << 20, MaxConns: rapid.IntRange(1, 20).Draw(t, "most"), MaxConnsPerIP: rapid.IntRange(1, 15).Draw(t, "per IP")}
		a := newAdmission(&cfg, time.Now, m)
		var open []*handshake
		t.Repeat(map[string]func(*rapid.T){
			"knock": func(t *rapid.T) {
				ip := fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 3).Draw(t, "ip"))
				if h := a.knock(ip, rapid.Bool().Draw(t, "verified")); h != nil {
					open = append(open, h)
				}
			},
			"prove": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip()
				}
				rapid.SampledFrom(open).Draw(t, "handshake").prove()
			},
			"leave": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "handshake")
				a.mu.Lock()
				open[i].leave()
				a.mu.Unlock()
				open = slices.Delete(open, i, i+1)
			},
			"": func(t *rapid.T) {
				open = slices.DeleteFunc(open, func(h *handshake) bool { return h.victim })
				type held struct{ proven, half, strange int }
				want, strangers := map[netip.Addr]held{}, 0
				for _, h := range open {
					p := want[h.ip]
					if h.at != nil {
						p.proven++
						if h.half {
							p.half++
						}
					} else {
						p.strange++
						strangers++
					}
					want[h.ip] = p
				}
				if a.conns != len(open) || a.conns > cfg.MaxConns || a.strangers != strangers || len(a.clients) != len(want) {
					t.Fatalf("%d connections of %d, %d strangers of %d, %d clients of %d", a.conns, len(open), a.strangers, strangers, len(a.clients), len(want))
				}
				for ip, p := range want {
					if got := (held{a.clients[ip].proven.Len(), a.clients[ip].half, a.clients[ip].strange}); got != p || p.proven > cfg.MaxConnsPerIP {
						t.Fatalf("%s has %v, booked %v", ip, p, got)
					}
				}
			},
		})
	})
}
