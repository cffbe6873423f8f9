package cassandrabox

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
)

const (
	// leaseSeconds is when the ring ends a lease that is not renewed.
	leaseSeconds = 15
	leaseLife    = leaseSeconds * time.Second
	// leaseMargin is before the ring does so: for a process that was held up, and for clocks
	// that run at unequal speed.
	leaseMargin = 3 * time.Second
	leaseRenew  = 4 * time.Second
	// leaseAtOnce bounds the conditional writes of a renewal.
	leaseAtOnce = 8
)

// lease is which shards this process publishes. The relays share them evenly.
type lease struct {
	db     *cassandradb.DB
	holder string

	mu      sync.Mutex
	looked  time.Time
	until   [agenda.Shards]time.Time // zero: not held
	stopped bool
}

// hold renews what is held, takes what is free up to a fair share, and gives back what is
// over it. It tells until when each shard is this process's.
func (l *lease) hold(ctx context.Context) (until [agenda.Shards]time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.looked) < leaseRenew || l.stopped {
		return l.until, nil
	}
	fair, err := l.fair(ctx)
	if err != nil {
		return l.until, err
	}
	free, err := l.free(ctx)
	if err != nil {
		return l.until, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(leaseAtOnce)
	held := 0
	var next [agenda.Shards]time.Time
	for pass, mine := range []bool{true, false} { // those held first
		for shard := range agenda.Shards {
			// Only what is free counts as a part of the share: with others' shards in it, what
			// another relay has given back would stay nobody's.
			if !l.until[shard].IsZero() != mine || !mine && !free[shard] {
				continue
			}
			if held == fair {
				if pass == 0 {
					g.Go(func() error { return l.give(ctx, shard) })
				}
				continue
			}
			held++
			g.Go(func() error {
				got, err := l.take(ctx, shard, mine)
				if err == nil && got {
					next[shard] = now.Add(leaseLife - leaseMargin) // from before it was asked for
				}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return l.until, err
	}
	l.until, l.looked = next, now
	return l.until, nil
}

// openSeconds is how long a process counts as one that works, which has no relay yet.
const openSeconds = 60

// Announce says that this process is going to change entities: it counts among [Outbox.Used]
// for a minute, and from then on while its relay runs.
func (o *Outbox) Announce(ctx context.Context) error {
	return o.db.Exec(ctx, `INSERT INTO relay_member (ring, holder, here) VALUES ('open', ?, true) USING TTL ?`, o.lease.holder, openSeconds)
}

// Used tells whether a process is at work here, or was up to a minute ago without ending
// by [Outbox.Stop].
func (o *Outbox) Used(ctx context.Context) (used bool, err error) {
	for _, ring := range []string{"open", "relays"} {
		var holder string
		err := o.db.Each(ctx, `SELECT holder FROM relay_member WHERE ring = ?`, []any{ring}, []any{&holder}, func() (bool, error) {
			used = used || holder != o.lease.holder
			return true, nil
		})
		if err != nil {
			return false, err
		}
	}
	return used, nil
}

// fair is the share of each relay that runs.
func (l *lease) fair(ctx context.Context) (int, error) {
	err := l.db.Exec(ctx, `INSERT INTO relay_member (ring, holder, here) VALUES ('relays', ?, true) USING TTL ?`, l.holder, leaseSeconds)
	if err != nil {
		return 0, err
	}
	members, holder := 0, ""
	err = l.db.Each(ctx, `SELECT holder FROM relay_member WHERE ring = 'relays'`, nil, []any{&holder}, func() (bool, error) {
		members++
		return true, nil
	})
	members = max(members, 1)
	return (agenda.Shards + members - 1) / members, err
}

// free are the shards that nobody seems to have.
func (l *lease) free(ctx context.Context) (free [agenda.Shards]bool, err error) {
	for shard := range free {
		free[shard] = true
	}
	shard, holder := 0, ""
	err = l.db.Each(ctx, `SELECT shard, holder FROM relay_lease`, nil, []any{&shard, &holder}, func() (bool, error) {
		if shard >= 0 && shard < len(free) {
			free[shard] = holder == ""
		}
		holder = "" // a null leaves it as it was
		return true, nil
	})
	return free, err
}

// take renews the lease of a shard, or takes it where nobody has it.
func (l *lease) take(ctx context.Context, shard int, mine bool) (bool, error) {
	cql, args := `UPDATE relay_lease USING TTL ? SET holder = ? WHERE shard = ? IF holder = ?`, []any{leaseSeconds, l.holder, shard, l.holder}
	if !mine {
		args[3] = nil
	}
	return l.db.Decide(ctx, []cassandradb.Statement{{CQL: cql, Args: args}}, func(ctx context.Context) (cassandradb.Verdict, error) {
		var holder string
		_, err := l.db.GetSerial(ctx, `SELECT holder FROM relay_lease WHERE shard = ?`, []any{shard}, &holder)
		switch {
		case err != nil:
			return cassandradb.Undecided, err
		case holder == l.holder:
			return cassandradb.Applied, nil
		case holder == "" && !mine:
			return cassandradb.Undecided, nil
		}
		return cassandradb.Refused, nil
	})
}

// give gives a shard back.
func (l *lease) give(ctx context.Context, shard int) error {
	cql := `DELETE holder FROM relay_lease WHERE shard = ? IF holder = ?`
	_, err := l.db.Decide(ctx, []cassandradb.Statement{{CQL: cql, Args: []any{shard, l.holder}}}, func(ctx context.Context) (cassandradb.Verdict, error) {
		var holder string
		_, err := l.db.GetSerial(ctx, `SELECT holder FROM relay_lease WHERE shard = ?`, []any{shard}, &holder)
		if err != nil || holder == l.holder {
			return cassandradb.Undecided, err
		}
		return cassandradb.Applied, nil
	})
	return err
}

// stop gives everything back, so that another process need not wait until it ends by
// itself.
func (l *lease) stop(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(leaseAtOnce)
	for shard, until := range l.until {
		if !until.IsZero() {
			g.Go(func() error { return l.give(ctx, shard) })
		}
	}
	l.until = [agenda.Shards]time.Time{}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, ring := range []string{"open", "relays"} {
		if err := l.db.Exec(ctx, `INSERT INTO relay_member (ring, holder, here) VALUES (?, ?, true) USING TTL 1`, ring, l.holder); err != nil {
			return err
		}
	}
	return nil
}
