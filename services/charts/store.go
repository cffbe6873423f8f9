package charts

import (
	"context"
	"time"
)

// Batch is what one partition of the log brought.
type Batch struct {
	Partition int32
	// From and Next are the offsets it covers, Next not included.
	From, Next int64
	Plays      []Play
}

// Snapshot is all charts of a period, as another counter has made them.
type Snapshot struct {
	Period Period
	Start  time.Time
	// Revision orders the snapshots of a period.
	Revision int64
	// Markets has the first of each market, in order, and of Everywhere.
	Markets map[string][]Entry
}

// Store keeps the plays of each period, market and track. Methods may be called
// concurrently.
type Store interface {
	// Count adds the plays of a batch to the hour and the day in which they began, for
	// their market and for Everywhere, and notes that the partition continues at Next, all
	// or nothing. A play whose event was counted before, in this batch or any other, adds
	// nothing. Where the partition continues elsewhere than at From it is ErrPosition, and
	// nothing changes.
	Count(ctx context.Context, b Batch) error
	// Position is where a partition continues, 0 at first.
	Position(ctx context.Context, partition int32) (int64, error)

	// Replace puts a snapshot in the place of what is known of its period, unless that is of
	// the same or a later revision; then it changes nothing.
	Replace(ctx context.Context, s Snapshot) error
	// Revision is that of the last snapshot of a period, -1 where there was none.
	Revision(ctx context.Context, p Period, start time.Time) (int64, error)

	// Top is the n most played, by plays, then by track id in byte order.
	Top(ctx context.Context, k Key, n int) ([]Entry, error)

	// Prune forgets all periods that ended at or before t, and the events of plays that
	// began before. Such a play must not be counted any more.
	Prune(ctx context.Context, t time.Time) error
}
