package cassandradb

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/segue-music/segue/internal/pause"
)

const (
	// stallFails statements in a row that were not answered, and no answer for stallQuiet,
	// say that the ring does not answer at all: some of three nodes that do not leave
	// answers in between.
	stallFails = 3
	stallQuiet = time.Second
	// probeEvery is how often it is looked whether it does again, probeLimit how long a
	// look may take.
	probeEvery = 100 * time.Millisecond
	probeLimit = time.Second
	// hedgeAfter is when a read asks a second node as well: an answer takes milliseconds,
	// and a node that stands still keeps its connections (Dean and Barroso, The tail at
	// scale, 2013).
	hedgeAfter = 100 * time.Millisecond
)

var (
	// errNotSent is the cause of errStalled, by which that is told from errAway.
	errNotSent = errors.New("the ring has not answered for a while")
	// errStalled refuses a statement that was not sent.
	errStalled = errAway.Because(errNotSent)
)

// stall has statements fail at once while the ring does not answer, instead of each of
// them, and whoever waits for it, after a timeout of its own.
type stall struct {
	on       atomic.Bool
	fails    atomic.Int64
	answered atomic.Int64 // when it last did, in nanoseconds since start
	start    time.Time
	probing  sync.WaitGroup
}

func newStall() *stall { return &stall{start: time.Now()} }

// left notes how a statement ended: with an answer, or as one of a ring that is away. Of
// one whose caller gave up nothing is known.
func (db *DB) left(err error) {
	s := db.stall
	now := int64(time.Since(s.start))
	switch {
	case err == nil:
		s.answered.Store(now)
		s.fails.Store(0)
	case errors.Is(err, errAway):
		if s.fails.Add(1) >= stallFails && now-s.answered.Load() >= int64(stallQuiet) && s.on.CompareAndSwap(false, true) {
			s.probing.Go(db.probe)
		}
	}
}

// probe asks until the ring answers.
func (db *DB) probe() {
	ctx := context.Background()
	for !db.closed.Load() {
		look, cancel := context.WithTimeout(ctx, probeLimit)
		err := db.ping(look)
		cancel()
		if err == nil {
			db.left(nil)
			db.stall.on.Store(false)
			return
		}
		pause.For(ctx, probeEvery)
	}
}

// hedged has a read ask another node where the first is slow, if there is another.
func (db *DB) hedged(q *gocql.Query) *gocql.Query {
	up := 0
	for _, h := range db.session.GetHosts() {
		if h.IsUp() {
			up++
		}
	}
	if up < 2 {
		return q
	}
	return q.SetSpeculativeExecutionPolicy(&gocql.SimpleSpeculativeExecution{NumAttempts: 1, TimeoutDelay: hedgeAfter})
}
