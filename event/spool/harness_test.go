package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/event/spool"
)

const topic = event.Playback

// fake is a cluster in this process that can be away: it closes every connection then.
type fake struct {
	seeds []string
	away  atomic.Bool
}

var errAway = errors.New("away")

func newFake(t testing.TB) *fake {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	f := &fake{seeds: c.ListenAddrs()}
	c.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if f.away.Load() {
			return nil, errAway, true
		}
		return nil, nil, false
	})
	return f
}

// connect opens the log of a cluster.
func connect(seeds []string, prefix string) func(context.Context) (event.Log, error) {
	return func(ctx context.Context) (event.Log, error) {
		l, err := kafkalog.Open(ctx, kafkalog.Options{Client: []kgo.Opt{kgo.SeedBrokers(seeds...)}, Replicas: 1, Prefix: prefix})
		if err != nil {
			return nil, err
		}
		return l, nil
	}
}

func open(t testing.TB, dir string, opt spool.Options) *spool.Log {
	t.Helper()
	opt.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	l, err := spool.Open(t.Context(), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// settle returns when everything is with the cluster.
func settle(ctx context.Context, l *spool.Log) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !l.Empty() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not delivered: %w", ctx.Err())
		}
	}
	return nil
}

// value is of another length for each record and tells when it is torn.
func value(key string, n int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%s/%d;", key, n), 1+n%40)
}

func record(key string, n int) event.Record {
	return event.Record{Topic: topic, Key: []byte(key), Value: value(key, n), Headers: []event.Header{{Name: "n", Value: fmt.Append(nil, n)}}}
}

// stored are the numbers of each key's records in the order of the cluster's log.
func stored(ctx context.Context, t *testing.T, log event.Log) map[string][]int {
	t.Helper()
	parts, err := log.Partitions(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]int{}
	for p := range parts {
		for r, err := range log.Read(ctx, topic, p, 0, false) {
			if err != nil {
				t.Fatal(err)
			}
			var n int
			if len(r.Headers) != 1 || r.Headers[0].Name != "n" {
				t.Fatalf("headers %v", r.Headers)
			}
			if _, err := fmt.Sscan(string(r.Headers[0].Value), &n); err != nil || !bytes.Equal(r.Value, value(string(r.Key), n)) {
				t.Fatalf("record of %s is %.60q, %v", r.Key, r.Value, err)
			}
			out[string(r.Key)] = append(out[string(r.Key)], n)
		}
	}
	return out
}

// producers append numbered records, each of a key of its own, two to a call.
type producers struct {
	log   event.Log
	stop  atomic.Bool
	acked [32]atomic.Int64
	mu    sync.Mutex
	took  []time.Duration
	group sync.WaitGroup
	errs  []error
}

func produce(ctx context.Context, log event.Log) *producers {
	p := &producers{log: log}
	for i := range p.acked {
		p.group.Go(func() {
			key := fmt.Sprintf("key-%d", i)
			pace := time.NewTicker(10 * time.Millisecond) // 6,400 events/s in all
			defer pace.Stop()
			for n := 0; !p.stop.Load(); n += 2 {
				began := time.Now()
				err := log.Append(ctx, record(key, n), record(key, n+1))
				p.mu.Lock()
				p.took = append(p.took, time.Since(began))
				if err != nil {
					p.errs = append(p.errs, err)
				}
				p.mu.Unlock()
				if err != nil {
					return
				}
				p.acked[i].Store(int64(n + 2))
				<-pace.C
			}
		})
	}
	return p
}

// more returns when every producer was told of so many records more.
func (p *producers) more(ctx context.Context, t *testing.T, records int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range p.acked {
		for from := p.acked[i].Load(); p.acked[i].Load() < from+records; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("producer %d stands still: %v", i, p.errs)
			}
		}
	}
}

// end stops the producers and returns how long the slowest of so many in a hundred
// appends took.
func (p *producers) end(t *testing.T) (p50, p99, most time.Duration, total int) {
	t.Helper()
	p.stop.Store(true)
	p.group.Wait()
	if err := errors.Join(p.errs...); err != nil {
		t.Fatal(err)
	}
	slices.Sort(p.took)
	return p.took[len(p.took)/2], p.took[len(p.took)*99/100], p.took[len(p.took)-1], 2 * len(p.took)
}
