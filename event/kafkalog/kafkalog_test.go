package kafkalog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/event/logtest"
)

func openFake(t *testing.T) *kafkalog.Log {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	l, err := kafkalog.Open(t.Context(), kafkalog.Options{Seeds: cluster.ListenAddrs(), Replicas: 1})
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
