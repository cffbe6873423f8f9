package kafkalog_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/event/logtest"
)

func openFake(t testing.TB) *kafkalog.Log {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	l, err := kafkalog.Open(t.Context(), kafkalog.Options{Client: []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) event.Log { return openFake(t) })
}

func TestLog_Close(t *testing.T) {
	l := openFake(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	record := event.Record{Topic: event.Playback, Key: []byte("k")}
	if err := l.Append(ctx, record); err != nil {
		t.Fatal(err)
	}
	// A consumer that has come to the end of its topics, and waits.
	reached, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- l.Consume(ctx, "waits", []string{event.Playback}, func(context.Context, event.Record) error {
			close(reached)
			return nil
		})
	}()
	<-reached
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	use := map[string]error{
		"append": l.Append(ctx, record),
		"commit": l.Commit(ctx, "g", event.Playback, 0, 1),
		"consume": l.Consume(ctx, "g", []string{event.Playback}, func(context.Context, event.Record) error {
			return errors.New("handled after Close")
		}),
		"consume begun before": <-ended,
	}
	_, use["committed"] = l.Committed(ctx, "g", event.Playback, 0)
	_, _, use["bounds"] = l.Bounds(ctx, event.Playback, 0)
	for _, err := range l.Read(ctx, event.Playback, 0, 0, false) {
		use["read"] = err
	}
	for what, err := range use {
		if !errors.Is(err, event.ErrClosed) {
			t.Errorf("%s of a closed log: %v, want ErrClosed", what, err)
		}
	}
}

// TestLog_ConsumeEndsWhileJoining: a broker that keeps a member waiting for others of its
// group does not keep a process from ending.
func TestLog_ConsumeEndsWhileJoining(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	l, err := kafkalog.Open(t.Context(), kafkalog.Options{Client: []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	joining, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(joining)
		cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- l.Consume(ctx, "waits", []string{event.Playback}, func(context.Context, event.Record) error { return nil })
	}()
	<-joining
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Consume waits for the broker after its context has ended")
	}
}

// TestLog_Partitions: an answer without partitions, of a broker that has not heard of the
// topic, is not kept: searches would find nothing in it for as long as the process runs.
func TestLog_Partitions(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	at := kgo.SeedBrokers(cluster.ListenAddrs()...)
	made, err := kafkalog.Open(t.Context(), kafkalog.Options{Client: []kgo.Opt{at}, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Close() })
	// Until this is over the broker tells of topics without partitions.
	host, port, err := net.SplitHostPort(cluster.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	cluster.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if over.Load() {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.MetadataResponse)
		res.Brokers = []kmsg.MetadataResponseBroker{{Host: host, Port: int32(number)}}
		for _, topic := range event.Topics() {
			res.Topics = append(res.Topics, kmsg.MetadataResponseTopic{Topic: &topic.Name})
		}
		return res, nil, true
	})
	l, err := kafkalog.Open(t.Context(), kafkalog.Options{Client: []kgo.Opt{at, kgo.MetadataMinAge(10 * time.Millisecond)}, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	n, err := l.Partitions(t.Context(), event.Playback)
	if err == nil {
		t.Errorf("without partitions there are %d of them", n)
	}
	over.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n, err = l.Partitions(ctx, event.Playback); err != nil && ctx.Err() == nil; {
		n, err = l.Partitions(ctx, event.Playback)
	}
	if err != nil || n == 0 {
		t.Errorf("later there are %d: %v", n, err)
	}
}
