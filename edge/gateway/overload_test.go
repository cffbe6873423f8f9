package gateway

import (
	"net/netip"
	"testing"
	"time"
)

// TestLimit: it sinks by a tenth at each look while goroutines wait, never below its
// floor, rises again when they do not, and is looked at once in 20 ms.
func TestLimit(t *testing.T) {
	now, late, known, looks := time.Unix(1_760_000_000, 0), true, true, 0
	l := newLimit(1000, func() (bool, bool) { looks++; return late, known }, func() time.Time { return now })
	look := func(inUse int) int {
		now = now.Add(lookEvery)
		return l.now(inUse)
	}
	if got := look(500); got != 450 {
		t.Errorf("limit %d after a look with 500 in use, want 450", got)
	}
	if l.now(450); looks != 1 {
		t.Errorf("%d looks within 20 ms", looks)
	}
	for range 100 {
		look(l.most())
	}
	if l.most() != l.floor {
		t.Errorf("limit %d, want the floor of %d", l.most(), l.floor)
	}
	known = false
	if look(l.floor) != l.floor {
		t.Error("it moves though nothing is known")
	}
	known, late = true, false
	if got := look(l.floor); got != l.floor+1 {
		t.Errorf("limit %d when it is met, want one more than %d", got, l.floor)
	}
	for range 20 {
		look(0)
	}
	if l.most() != 1000 {
		t.Errorf("limit %d when there is little to do, want 1000", l.most())
	}
	late = true
	if look(900) >= 900 {
		t.Error("it does not sink")
	}
	before := l.most()
	now, late = now.Add(-time.Hour), false
	if l.now(0) == before {
		t.Error("it rests for an hour when the clock is set back")
	}
}

// TestSchedLatency reads the real clock of the scheduler: a goroutine that runs at once is
// not late, one that waits behind a busy processor is.
func TestSchedLatency(t *testing.T) {
	s := newSchedLatency()
	if s.sample[0].Name == "" {
		t.Fatal("no metric")
	}
	s.late()
	for range 1000 {
		done := make(chan struct{})
		go close(done)
		<-done
	}
	if _, known := s.late(); !known {
		t.Error("a thousand goroutines tell nothing")
	}
	if _, known := s.late(); known {
		t.Error("it tells something of nothing")
	}
}

// TestShedder_Importance: what a sound depends on is served when pages are not, and those
// when events are not.
func TestShedder_Importance(t *testing.T) {
	l := newLimit(16, func() (bool, bool) { return false, false }, time.Now)
	s := newShedder(Config{MaxRequests: 1 << 20}, l)
	enter := func(i importance) int {
		n := 0
		for ; ; n++ {
			if _, ok := s.enter("t", netip.MustParseAddr("192.0.2.1"), i); !ok {
				return n
			}
		}
	}
	if b, o, u := enter(background), enter(ordinary), enter(urgent); b != 8 || o != 6 || u != 2 {
		t.Errorf("%d background, then %d ordinary, then %d urgent; want 8, 6, 2", b, o, u)
	}
	if !s.crowded(background) || !s.crowded(urgent) {
		t.Error("a full house is not crowded")
	}
	other := netip.MustParseAddr("192.0.2.2")
	if !s.refuses(netip.MustParseAddr("192.0.2.1"), urgent) || s.refuses(other, ordinary) {
		t.Error("who fills the house is not refused, or another is")
	}
	for n := 0; ; n++ {
		if _, ok := s.enter("t", other, urgent); !ok {
			if n < 2 || n > 8 {
				t.Errorf("another has %d of 16 places beyond the limit", n)
			}
			break
		}
	}
	for path, want := range map[string]importance{
		"/segue.playback.v1.SessionService/OpenSession": urgent, "/o/x": urgent, "/": ordinary, "/segue.user.v1.AccountService/GetMe": ordinary,
		"/login": ordinary, "/segue.collect.v1.CollectService/SendEvents": background, "/artwork/x": background,
	} {
		if got := match(table(Config{}), path).importance(); got != want {
			t.Errorf("%s has importance %d, want %d", path, got, want)
		}
	}
}
