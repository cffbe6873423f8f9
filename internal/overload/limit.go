// Package overload tells how much may be worked on at a time, and who is served first when
// not all can be.
package overload

import (
	"runtime"
	rtm "runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often the load is looked at, as requests come.
	lookEvery = 20 * time.Millisecond
	// lateAfter is how long a tenth of all goroutines may wait for a processor before there
	// is too much work. Waiting time is the one sign of overload that is the same for
	// requests that take a microsecond and for those that take a second (as in DAGOR, which
	// takes 20 ms of queueing).
	lateAfter = 10 * time.Millisecond
	// enough is how many waits make a picture.
	enough = 50
	// floorPerCPU is how many requests are worked on in any case.
	floorPerCPU = 32
)

// Limit is how many requests may be worked on at a time: additive increase while
// goroutines get a processor soon, multiplicative decrease while they do not (Chiu and
// Jain, Analysis of the increase and decrease algorithms for congestion avoidance, 1989).
// Where others do the work and this process waits for them, it does not sink, and the
// bounds per target hold.
type Limit struct {
	floor, ceiling int
	late           func() (late, known bool)
	clock          func() time.Time

	value atomic.Int64
	next  atomic.Int64 // when to look again, nanoseconds since start
	start time.Time
}

// NewLimit begins at its ceiling. late tells whether goroutines get a processor late, and
// whether that is known.
func NewLimit(ceiling int, late func() (late, known bool), clock func() time.Time) *Limit {
	l := &Limit{floor: min(ceiling, floorPerCPU*runtime.GOMAXPROCS(0)), ceiling: ceiling, late: late, clock: clock, start: clock()}
	l.value.Store(int64(ceiling))
	return l
}

// Most is the limit.
func (l *Limit) Most() int { return int(l.value.Load()) }

// Now looks at the load, if that is due, and returns the limit; inUse is how many
// requests are worked on.
func (l *Limit) Now(inUse int) int {
	at, due := int64(l.clock().Sub(l.start)), l.next.Load()
	if (at < due && due-at <= int64(lookEvery)) || !l.next.CompareAndSwap(due, at+int64(lookEvery)) {
		return l.Most()
	}
	late, known := l.late()
	now := l.Most()
	switch {
	case !known:
	case late:
		now = max(l.floor, min(now, inUse)*9/10)
	case now < l.ceiling && inUse < now/2:
		now = min(l.ceiling, now*2) // it is not what holds anything up
	case now < l.ceiling:
		now++
	}
	l.value.Store(int64(now))
	return now
}

// SchedLatency reads how long goroutines have waited for a processor since it was asked
// before.
type SchedLatency struct {
	mu     sync.Mutex
	sample [1]rtm.Sample
	before []uint64
}

// NewSchedLatency begins to look.
func NewSchedLatency() *SchedLatency {
	s := &SchedLatency{}
	s.sample[0].Name = "/sched/latencies:seconds"
	return s
}

// Late reports whether a tenth of them has waited too long; known is false where too few
// have run to tell.
func (s *SchedLatency) Late() (late, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rtm.Read(s.sample[:])
	if s.sample[0].Value.Kind() != rtm.KindFloat64Histogram {
		return false, false
	}
	h := s.sample[0].Value.Float64Histogram()
	if len(s.before) != len(h.Counts) {
		s.before = make([]uint64, len(h.Counts))
	}
	var all, over uint64
	for i, n := range h.Counts {
		d := n - s.before[i]
		all += d
		if h.Buckets[i] >= lateAfter.Seconds() {
			over += d
		}
	}
	if all < enough {
		return false, false // what there was counts the next time
	}
	copy(s.before, h.Counts)
	return over*10 >= all, true
}
