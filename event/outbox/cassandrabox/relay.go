package cassandrabox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
)

const (
	// look is how often the pointers of other processes are looked for.
	look = 500 * time.Millisecond
	// giveUp is when a change that was announced and neither made nor given up is decided by
	// the relay. Too early does no harm: its writer tries again.
	giveUp = 10 * time.Second
	// atOnce bounds the partitions that are read at a time.
	atOnce = 8
	// maxKeys and maxPointers bound what one look at a shard takes in.
	maxKeys     = 256
	maxPointers = 4096
)

// Take implements outbox.Source. The shards are shared among the relays by leases, so of
// one shard, and with it of one key, one relay publishes at a time. One that comes back
// after its lease has ended can only repeat what the log has: it takes out nothing that it
// has not published.
func (o *Outbox) Take(ctx context.Context, limit int, publish func(context.Context, outbox.Batch) error) (outbox.Taken, error) {
	until, err := o.lease.hold(ctx)
	if err != nil {
		return outbox.Taken{}, fmt.Errorf("lease of the relay: %w", closed(err))
	}
	first := int(o.turn.Load())
	for i := range agenda.Shards {
		shard := (first + i) % agenda.Shards
		if time.Until(until[shard]) <= 0 {
			continue
		}
		n, err := o.takeShard(ctx, shard, limit, until[shard], publish)
		if err != nil || n > 0 {
			o.turn.Store(int32(shard + 1)) // the others are not kept waiting by a busy one
			return outbox.Taken{Events: n}, closed(err)
		}
	}
	return outbox.Taken{Again: look}, nil
}

// waiting is what one entity has to publish.
type waiting struct {
	pointers []agenda.Entry
	version  int64 // before the events were read
	drained  int64
	records  []event.Record
	traces   []string
	last     string // id of the last event read
	written  int64  // the latest time of those read
	whole    bool   // that is all of them
}

func (o *Outbox) takeShard(ctx context.Context, shard, limit int, until time.Time, publish func(context.Context, outbox.Batch) error) (int, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	keys, found, err := o.pointers(ctx, shard)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	b, keys, err := o.batch(ctx, keys, found, limit)
	if err != nil {
		return 0, fmt.Errorf("read outbox: %w", err)
	}
	if len(b.Records) > 0 {
		if err := publish(ctx, b); err != nil {
			return 0, err
		}
	}
	// What the log has is taken out whatever becomes of the caller.
	clearing, done := context.WithTimeout(context.WithoutCancel(ctx), leaseLife)
	defer done()
	g, clearing := errgroup.WithContext(clearing)
	g.SetLimit(atOnce)
	for _, key := range keys {
		g.Go(func() error { return o.clear(clearing, key, found[key]) })
	}
	if err := g.Wait(); err != nil {
		return 0, fmt.Errorf("clear outbox: %w", err)
	}
	return len(b.Records), nil
}

// pointers are the entities of a shard that have, or may have, events, in the order of
// their oldest pointer.
func (o *Outbox) pointers(ctx context.Context, shard int) (keys []string, found map[string]*waiting, err error) {
	found, n := map[string]*waiting{}, 0
	for e, err := range o.dirty.Walk(ctx, shard, forever) {
		if err != nil {
			return nil, nil, fmt.Errorf("read pointers: %w", err)
		}
		w := found[e.Key]
		if w == nil {
			w = &waiting{}
			found[e.Key], keys = w, append(keys, e.Key)
		}
		w.pointers = append(w.pointers, e)
		if n++; len(keys) == maxKeys || n == maxPointers {
			break
		}
	}
	return keys, found, nil
}

// batch reads the entities in their order until limit is reached, and gives the keys of
// those that the batch is of.
func (o *Outbox) batch(ctx context.Context, keys []string, found map[string]*waiting, limit int) (b outbox.Batch, of []string, err error) {
	for chunk := range slices.Chunk(keys, atOnce) {
		if err := o.read(ctx, chunk, found, limit); err != nil {
			return b, nil, err
		}
		for _, key := range chunk {
			w := found[key]
			if len(b.Records)+len(w.records) > limit {
				return b, of, nil
			}
			b.Records, b.Traces = append(b.Records, w.records...), append(b.Traces, w.traces...)
			of = append(of, key)
		}
	}
	return b, of, nil
}

func (o *Outbox) read(ctx context.Context, keys []string, found map[string]*waiting, limit int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, key := range keys {
		g.Go(func() error { return o.readEntity(ctx, key, found[key], limit) })
	}
	return g.Wait()
}

// readEntity reads the oldest events of an entity. The log has those up to drained, and
// beginning after them steps over what deleted events leave behind.
func (o *Outbox) readEntity(ctx context.Context, key string, w *waiting, limit int) error {
	_, err := o.db.Get(ctx, `SELECT version, drained FROM `+o.table+` WHERE `+o.key+` = ? AND kind = '' AND id = ''`,
		[]any{key}, &w.version, &w.drained)
	if err != nil {
		return err
	}
	var r event.Record
	var eventKey, trace string
	var written int64
	w.whole = true
	return o.db.Each(ctx, `SELECT id, topic, event_key, value, trace, WRITETIME(value) FROM `+o.table+`
		WHERE `+o.key+` = ? AND kind = 'event' AND id > ? LIMIT ?`, []any{key, eventID(w.drained+1, 0)[:19], limit},
		[]any{&w.last, &r.Topic, &eventKey, &r.Value, &trace, &written}, func() (bool, error) {
			w.records = append(w.records, event.Record{Topic: r.Topic, Key: []byte(eventKey), Value: r.Value})
			w.traces, w.written = append(w.traces, trace), max(w.written, written)
			r.Value = nil // the next row's own
			w.whole = len(w.records) < limit
			return true, nil
		})
}

// clear takes out what was published of an entity, and then the pointers whose changes are
// decided: their events were published now or before. Every delete is at the time of what
// it deletes, so that it takes nothing else.
func (o *Outbox) clear(ctx context.Context, key string, w *waiting) error {
	if n := len(w.records); n > 0 {
		err := o.db.Exec(ctx, `DELETE FROM `+o.table+` USING TIMESTAMP ? WHERE `+o.key+` = ? AND kind = 'event' AND id <= ?`, w.written, key, w.last)
		if err != nil {
			return err
		}
	}
	if !w.whole {
		return nil
	}
	// Where more was read than there was at first, the rest has pointers of its own. The
	// time of this cell is the number in it, so that the highest stays, whoever writes last.
	if w.version > w.drained {
		err := o.db.Exec(ctx, `UPDATE `+o.table+` USING TIMESTAMP ? SET drained = ? WHERE `+o.key+` = ? AND kind = '' AND id = ''`, w.version, w.version, key)
		if err != nil {
			return err
		}
	}
	for _, e := range w.pointers {
		if e.Version >= w.version {
			if err := o.undecided(ctx, e); err != nil {
				return err
			}
			continue
		}
		if err := o.dirty.Drop(ctx, e); err != nil {
			return err
		}
		o.forget(e)
	}
	return nil
}

// undecided remembers a pointer whose change may still be made, and decides it when it has
// been so for long: its writer is gone.
func (o *Outbox) undecided(ctx context.Context, e agenda.Entry) error {
	o.mu.Lock()
	since, ok := o.open[e]
	if !ok {
		o.open[e] = time.Now()
	}
	o.mu.Unlock()
	if !ok || time.Since(since) < giveUp {
		return nil
	}
	return o.Fence(ctx, e.Key, e.Version)
}

func (o *Outbox) forget(e agenda.Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, e)
	// Those that another process dropped are never seen again here.
	for other, since := range o.open {
		if time.Since(since) > time.Hour {
			delete(o.open, other)
		}
	}
}

// countMost and eachMost bound the entities, and the events of each, that Pending reads.
const (
	eachMost  = 10_000
	countMost = 1000
)

// Pending implements outbox.Source. It is a lower bound where very many wait.
func (o *Outbox) Pending(ctx context.Context) (int64, error) {
	list, err := o.waiting(ctx, eachMost)
	if err != nil {
		return 0, fmt.Errorf("count outbox: %w", closed(err))
	}
	n := int64(0)
	for _, w := range list {
		n += int64(len(w.records))
	}
	return n, nil
}

// Oldest implements outbox.Source.
func (o *Outbox) Oldest(ctx context.Context) ([]byte, error) {
	list, err := o.waiting(ctx, 1)
	if err != nil {
		return nil, fmt.Errorf("read oldest of outbox: %w", closed(err))
	}
	var oldest []byte
	var at time.Time
	for _, w := range list {
		for _, r := range w.records {
			env, err := event.Unmarshal(r.Value)
			if err != nil {
				return nil, fmt.Errorf("read oldest of outbox: %w", err)
			}
			if t := env.GetTime().AsTime(); oldest == nil || t.Before(at) {
				oldest, at = r.Value, t
			}
		}
	}
	return oldest, nil
}

// waiting are the entities with events, of all shards, with up to so many of each.
func (o *Outbox) waiting(ctx context.Context, each int) (list []*waiting, err error) {
	for shard := range agenda.Shards {
		keys, found, err := o.pointers(ctx, shard)
		if err != nil {
			return nil, err
		}
		keys = keys[:min(len(keys), countMost/agenda.Shards)]
		if err := o.read(ctx, keys, found, each); err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(slices.Values(keys)) {
			list = append(list, found[key])
		}
	}
	return list, nil
}

// Stop gives the leases back; it is for after the relay has ended.
func (o *Outbox) Stop(ctx context.Context) error { return o.lease.stop(ctx) }

// closed gives an error of a closed database the name that the relay knows.
func closed(err error) error {
	if errors.Is(err, cassandradb.ErrClosed) {
		return fmt.Errorf("%w: %w", outbox.ErrClosed, err)
	}
	return err
}
