//go:build engines

package kafkalog_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/internal/testengine"
)

// TestKafka_OneOfThree: while one broker of three is paused, and while another is killed,
// events are acknowledged all the same, and each that was is there once.
func TestKafka_OneOfThree(t *testing.T) {
	brokers := testengine.KafkaCluster(t, 3)
	seeds := kgo.SeedBrokers(brokers[0].Seeds...)
	ctx := within(t, 5*time.Minute)
	l, err := kafkalog.Open(ctx, kafkalog.Options{Client: []kgo.Opt{seeds}, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	client, err := kgo.NewClient(seeds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)

	load := &producers{t: t, log: l}
	load.start(ctx, 8)
	one, two := brokers[1], brokers[2]
	load.more(ctx, 500)
	if err := one.Pause(); err != nil {
		t.Fatal(err)
	}
	load.more(ctx, 500)
	if err := one.Resume(); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(ctx, t, client)
	two.Crash()
	load.more(ctx, 500)
	if err := two.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(ctx, t, client)
	load.more(ctx, 500)
	acked := load.stop()
	t.Logf("%d events acknowledged, %d calls failed; the longest wait for an answer was %v", len(acked), load.failed.Load(), time.Duration(load.longest.Load()).Round(time.Millisecond))

	seen := map[string]int{}
	n, err := l.Partitions(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range n {
		for r, err := range l.Read(ctx, topic, p, 0, false) {
			if err != nil {
				t.Fatal(err)
			}
			seen[string(r.Value)]++
		}
	}
	lost, doubled := 0, 0
	for _, v := range acked {
		switch seen[v] {
		case 0:
			lost++
		case 1:
		default:
			doubled++
		}
	}
	if lost > 0 || doubled > 0 {
		t.Errorf("%d of %d lost, %d doubled", lost, len(acked), doubled)
	}
}

// producers append one event a call, and note what was acknowledged.
type producers struct {
	t   *testing.T
	log event.Log

	end             context.CancelFunc
	all             sync.WaitGroup
	failed, longest atomic.Int64

	mu    sync.Mutex
	acked []string
}

func (p *producers) start(ctx context.Context, n int) {
	ctx, p.end = context.WithCancel(ctx)
	for worker := range n {
		p.all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				v, began := fmt.Sprintf("%d/%d", worker, i), time.Now()
				// The call is not cut off: what it comes to is known.
				err := p.log.Append(context.WithoutCancel(ctx), event.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i%97), Value: []byte(v)})
				took := time.Since(began)
				for old := p.longest.Load(); int64(took) > old && !p.longest.CompareAndSwap(old, int64(took)); old = p.longest.Load() {
				}
				if err != nil {
					p.failed.Add(1)
					continue
				}
				p.mu.Lock()
				p.acked = append(p.acked, v)
				p.mu.Unlock()
			}
		})
	}
}

func (p *producers) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

// more waits until so many more are acknowledged.
func (p *producers) more(ctx context.Context, n int) {
	p.t.Helper()
	want := p.count() + n
	until(ctx, p.t, fmt.Sprintf("%d more events", n), func() bool { return p.count() >= want })
}

func (p *producers) stop() []string {
	p.end()
	p.all.Wait()
	return p.acked
}

func until(ctx context.Context, t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// awaitReplicas waits until all three brokers have all there is of the topic.
func awaitReplicas(ctx context.Context, t *testing.T, client *kgo.Client) {
	t.Helper()
	admin := kadm.NewClient(client)
	until(ctx, t, "replicas in step", func() bool {
		all, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return false
		}
		for _, p := range all[topic].Partitions.Sorted() {
			if len(p.ISR) < 3 {
				return false
			}
		}
		return len(all[topic].Partitions) > 0
	})
}
