package overload

import (
	"testing"
	"time"
)

// TestLimit: it sinks by a tenth at each look while goroutines wait, never below its
// floor, rises again when they do not, and is looked at once in 20 ms.
func TestLimit(t *testing.T) {
	now, late, known, looks := time.Unix(1_760_000_000, 0), true, true, 0
	l := NewLimit(1000, func() (bool, bool) { looks++; return late, known }, func() time.Time { return now })
	look := func(inUse int) int {
		now = now.Add(lookEvery)
		return l.Now(inUse)
	}
	if got := look(500); got != 450 {
		t.Errorf("limit %d after a look with 500 in use, want 450", got)
	}
	if l.Now(450); looks != 1 {
		t.Errorf("%d looks within 20 ms", looks)
	}
	for range 100 {
		look(l.Most())
	}
	if l.Most() != l.floor {
		t.Errorf("limit %d, want the floor of %d", l.Most(), l.floor)
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
	if l.Most() != 1000 {
		t.Errorf("limit %d when there is little to do, want 1000", l.Most())
	}
	late = true
	if look(900) >= 900 {
		t.Error("it does not sink")
	}
	before := l.Most()
	now, late = now.Add(-time.Hour), false
	if l.Now(0) == before {
		t.Error("it rests for an hour when the clock is set back")
	}
}

// TestSchedLatency reads the real clock of the scheduler: a goroutine that runs at once is
// not late, one that waits behind a busy processor is.
func TestSchedLatency(t *testing.T) {
	s := NewSchedLatency()
	if s.sample[0].Name == "" {
		t.Fatal("no metric")
	}
	s.Late()
	for range 1000 {
		done := make(chan struct{})
		go close(done)
		<-done
	}
	if _, known := s.Late(); !known {
		t.Error("a thousand goroutines tell nothing")
	}
	if _, known := s.Late(); known {
		t.Error("it tells something of nothing")
	}
}
