//go:build engines

package kafkalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/event/logtest"
	"github.com/segue-music/segue/internal/testengine"
)

// TestKafka runs everything that needs the real broker on one, whose start is dear.
func TestKafka(t *testing.T) {
	kafka := &cluster{Broker: testengine.Kafka(t)}
	// First, with the fewest partitions for the broker to look through when it is back.
	t.Run("crash", func(t *testing.T) { crash(t, kafka) })
	t.Run("log", func(t *testing.T) {
		logtest.Run(t, func(t *testing.T) event.Log { return kafka.open(t, kafka.prefix()) })
	})
	t.Run("open_again", func(t *testing.T) { openAgain(t, kafka) })
	t.Run("prefixes", func(t *testing.T) { prefixes(t, kafka) })
	t.Run("retention_overtakes_read", func(t *testing.T) { retention(t, kafka) })
}

// cluster gives each subtest topics and groups of its own on one broker.
type cluster struct {
	*testengine.Broker
	used int
}

func (c *cluster) prefix() string {
	c.used++
	return fmt.Sprintf("t%d.", c.used)
}

func (c *cluster) open(t *testing.T, prefix string) *kafkalog.Log {
	t.Helper()
	began := time.Now()
	l, err := kafkalog.Open(t.Context(), kafkalog.Options{Client: []kgo.Opt{kgo.SeedBrokers(c.Seeds...)}, Replicas: 1, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Logf("opened in %v", time.Since(began).Round(time.Millisecond))
	return l
}

// within bounds a subtest that a fault would leave waiting.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

const topic = event.Playback

func numbered(i int) event.Record {
	return event.Record{Topic: topic, Key: []byte("k"), Value: []byte(strconv.Itoa(i))}
}

// fill appends records of one key and returns the partition they went to.
func fill(ctx context.Context, t *testing.T, l event.Log, recs ...event.Record) int32 {
	t.Helper()
	if err := l.Append(ctx, recs...); err != nil {
		t.Fatal(err)
	}
	n, err := l.Partitions(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range n {
		first, next, err := l.Bounds(ctx, topic, p)
		if err != nil {
			t.Fatal(err)
		}
		if next > first {
			return p
		}
	}
	t.Fatal("no partition has records")
	return 0
}

// openAgain: topics that exist are taken as they are, with all that is in them.
func openAgain(t *testing.T, c *cluster) {
	ctx, prefix := within(t, time.Minute), c.prefix()
	before := c.open(t, prefix)
	p := fill(ctx, t, before, numbered(0), numbered(1))
	if err := errors.Join(before.Commit(ctx, "g", topic, p, 1), before.Close()); err != nil {
		t.Fatal(err)
	}
	after := c.open(t, prefix)
	if first, next, err := after.Bounds(ctx, topic, p); err != nil || first != 0 || next != 2 {
		t.Errorf("bounds after opening again: %d, %d, %v, want 0, 2", first, next, err)
	}
	if got, err := after.Committed(ctx, "g", topic, p); err != nil || got != 1 {
		t.Errorf("committed after opening again: %d, %v, want 1", got, err)
	}
}

// prefixes: logs of different prefixes share nothing, groups neither.
func prefixes(t *testing.T, c *cluster) {
	ctx := within(t, time.Minute)
	a, b := c.open(t, c.prefix()), c.open(t, c.prefix())
	p := fill(ctx, t, a, numbered(0))
	if err := a.Commit(ctx, "g", topic, p, 1); err != nil {
		t.Fatal(err)
	}
	if first, next, err := b.Bounds(ctx, topic, p); err != nil || first != next {
		t.Errorf("bounds beside it: %d, %d, %v, want none", first, next, err)
	}
	if got, err := b.Committed(ctx, "g", topic, p); err != nil || got != 0 {
		t.Errorf("committed beside it: %d, %v, want 0", got, err)
	}
}

// retention: a read without follow ends, though what it was to read is deleted meanwhile.
func retention(t *testing.T, c *cluster) {
	ctx, prefix := within(t, time.Minute), c.prefix()
	l := c.open(t, prefix)
	// Far more than a client fetches ahead, and nothing that compresses.
	random := rand.NewChaCha8([32]byte{1})
	var recs []event.Record
	for i := range 160 {
		r := numbered(i)
		r.Value = make([]byte, event.MaxValue)
		_, _ = random.Read(r.Value) // never fails
		recs = append(recs, r)
	}
	p := fill(ctx, t, l, recs...)
	_, end, err := l.Bounds(ctx, topic, p)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for r, err := range l.Read(ctx, topic, p, 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Value, recs[r.Offset].Value) {
			t.Fatalf("record %d is another", r.Offset)
		}
		if got++; got == 1 {
			c.delete(ctx, t, prefix+topic, p, end)
		}
	}
	if got == len(recs) {
		t.Error("nothing was deleted in time: the check shows nothing")
	}
	t.Logf("%d of %d records read", got, len(recs))
}

// delete deletes the records of a partition below an offset, as retention does.
func (c *cluster) delete(ctx context.Context, t *testing.T, name string, partition int32, before int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	offsets := kadm.Offsets{}
	offsets.AddOffset(name, partition, before, -1)
	answers, err := kadm.NewClient(client).DeleteRecords(ctx, offsets)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// crash: with the broker gone for a while, appends wait, followers and consumers go on
// after it, and nothing acknowledged is lost.
func crash(t *testing.T, c *cluster) {
	ctx := within(t, 5*time.Minute) // a group may wait 45 s for members that are gone
	l := c.open(t, c.prefix())
	const each = 20
	p := fill(ctx, t, l, numbered(0))
	consumed, followed := make(chan int, 100*each), make(chan int, 100*each)
	number := func(r event.Record) int {
		n, err := strconv.Atoi(string(r.Value))
		if err != nil {
			return -1
		}
		return n
	}
	whole := ctx
	ctx, cancel := context.WithCancel(whole)
	eg, ctx := errgroup.WithContext(ctx)
	eg.Go(func() error {
		return l.Consume(ctx, "g", []string{topic}, func(_ context.Context, r event.Record) error {
			consumed <- number(r)
			return nil
		})
	})
	eg.Go(func() error {
		for r, err := range l.Read(ctx, topic, p, 0, true) {
			if err != nil {
				return fmt.Errorf("follow: %w", err)
			}
			followed <- number(r)
		}
		return nil
	})
	appendAll := func(from, to int) error {
		for i := from; i < to; i++ {
			if err := l.Append(whole, numbered(i)); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
		}
		return nil
	}
	if err := appendAll(1, each); err != nil {
		t.Fatal(err)
	}
	seen := upTo(ctx, consumed, each-1)
	read := upTo(ctx, followed, each-1)

	c.Crash()
	appended := make(chan error, 1)
	go func() { appended <- appendAll(each, 2*each) }()
	began := time.Now()
	if err := c.Restart(whole); err != nil {
		t.Fatal(err)
	}
	t.Logf("the broker is back after %v", time.Since(began).Round(time.Millisecond))
	if err := <-appended; err != nil {
		t.Error(err)
	}
	t.Logf("appended after %v", time.Since(began).Round(time.Millisecond))
	seen = append(seen, upTo(ctx, consumed, 2*each-1)...)
	read = append(read, upTo(ctx, followed, 2*each-1)...)
	t.Logf("consumed and followed after %v", time.Since(began).Round(time.Millisecond))
	cancel()
	if err := eg.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("consume and follow over a crash: %v", err)
	}
	if want := ascending(2 * each); !slices.Equal(read, want) {
		t.Errorf("followed %v", read)
	}
	slices.Sort(seen) // at least once: some may have come twice
	if !slices.Equal(slices.Compact(seen), ascending(2*each)) {
		t.Errorf("consumed %v", seen)
	}
}

// upTo receives until last comes.
func upTo(ctx context.Context, from <-chan int, last int) (got []int) {
	for {
		select {
		case n := <-from:
			if got = append(got, n); n == last {
				return got
			}
		case <-ctx.Done():
			return got
		}
	}
}

func ascending(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}
