package gateway

import (
	"net/netip"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/overload"
)

// TestShedder_Importance: what a sound depends on is served when pages are not, and those
// when events are not.
func TestShedder_Importance(t *testing.T) {
	l := overload.NewLimit(16, func() (bool, bool) { return false, false }, time.Now)
	s := newShedder(Config{MaxRequests: 1 << 20}, l)
	enter := func(i overload.Importance) int {
		n := 0
		for ; ; n++ {
			if _, ok := s.enter("t", netip.MustParseAddr("192.0.2.1"), i); !ok {
				return n
			}
		}
	}
	if b, o, u := enter(overload.Background), enter(overload.Ordinary), enter(overload.Urgent); b != 8 || o != 6 || u != 2 {
		t.Errorf("%d overload.Background, then %d overload.Ordinary, then %d urgent; want 8, 6, 2", b, o, u)
	}
	if !s.crowded(overload.Background) || !s.crowded(overload.Urgent) {
		t.Error("a full house is not crowded")
	}
	other := netip.MustParseAddr("192.0.2.2")
	if !s.refuses(netip.MustParseAddr("192.0.2.1"), overload.Urgent) || s.refuses(other, overload.Ordinary) {
		t.Error("who fills the house is not refused, or another is")
	}
	for n := 0; ; n++ {
		if _, ok := s.enter("t", other, overload.Urgent); !ok {
			if n < 2 || n > 8 {
				t.Errorf("another has %d of 16 places beyond the limit", n)
			}
			break
		}
	}
	for path, want := range map[string]overload.Importance{
		"/segue.playback.v1.SessionService/OpenSession": overload.Urgent, "/o/x": overload.Urgent, "/": overload.Ordinary, "/segue.user.v1.AccountService/GetMe": overload.Ordinary,
		"/login": overload.Ordinary, "/segue.collect.v1.CollectService/SendEvents": overload.Background, "/artwork/x": overload.Background,
	} {
		if got := match(table(Config{}), path).importance(); got != want {
			t.Errorf("%s has importance %d, want %d", path, got, want)
		}
	}
}
