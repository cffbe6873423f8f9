package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	jetstreamAcks = "the publish acknowledgement has arrived, one per event: file store, one stream, one replica, SyncAlways, so the server " +
		"has written the message and fsynced its block before it acknowledges; it groups nothing (server/filestore.go, " +
		"flushPendingMsgs). Server and clients are one process, connected by an in-process pipe instead of TCP. A batch is 100 " +
		"asynchronous publishes, then all their acknowledgements. JetStream's default would sync every 2 minutes only."
	jetstreamAtomicAcks = "the one acknowledgement of an atomic batch of 100 (allow_atomic) has arrived: as above, but the server " +
		"stages the batch in a file store of its own, which it syncs at the commit, then copies it to the stream and fsyncs that once " +
		"(server/jetstream_batching.go; server/stream.go, coalesceSync)."

	streamSubject = "events"
	// connections are shared by the producers, as those of one service would.
	connections = 8
	ackWait     = time.Minute
)

func openJetStream(ctx context.Context, dir string, size int) (running, error) {
	return serve(ctx, dir, size, publishEach)
}

func openJetStreamAtomic(ctx context.Context, dir string, size int) (running, error) {
	return serve(ctx, dir, size, publishAtomic)
}

type publisher func(ctx context.Context, js jetstream.JetStream, id string, data []byte, n int) error

func serve(ctx context.Context, dir string, size int, publish publisher) (running, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: "logbench", DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return running{}, err
	}
	srv.Start()
	var conns []*nats.Conn
	stop := func() error {
		for _, c := range conns {
			c.Close()
		}
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil
	}
	if !srv.ReadyForConnections(10 * time.Second) {
		return running{}, errors.Join(errors.New("the server does not come up"), stop())
	}
	var streams []jetstream.JetStream
	for range connections {
		c, err := nats.Connect("", nats.InProcessServer(srv))
		if err != nil {
			return running{}, errors.Join(err, stop())
		}
		conns = append(conns, c)
		js, err := jetstream.New(c, jetstream.WithPublishAsyncMaxPending(4096))
		if err != nil {
			return running{}, errors.Join(err, stop())
		}
		streams = append(streams, js)
	}
	stream, err := streams[0].CreateStream(ctx, jetstream.StreamConfig{
		Name: "EVENTS", Subjects: []string{streamSubject}, Storage: jetstream.FileStorage, Replicas: 1, AllowAtomicPublish: true,
	})
	if err != nil {
		return running{}, errors.Join(err, stop())
	}
	return running{
		producer: func(i int) (func(context.Context, int) error, error) {
			js, data, calls := streams[i%len(streams)], bytes.Repeat([]byte{'v'}, size), 0
			return func(ctx context.Context, n int) error {
				calls++
				return publish(ctx, js, fmt.Sprintf("%d-%d", i, calls), data, n)
			}, nil
		},
		count: func(ctx context.Context) (int64, error) {
			info, err := stream.Info(ctx)
			if err != nil {
				return 0, err
			}
			return int64(info.State.Msgs), nil
		},
		close: stop,
	}, nil
}

// publishEach waits for an acknowledgement of every event.
func publishEach(ctx context.Context, js jetstream.JetStream, _ string, data []byte, n int) error {
	if n == 1 {
		ctx, cancel := context.WithTimeout(ctx, ackWait)
		defer cancel()
		_, err := js.Publish(ctx, streamSubject, data)
		return err
	}
	acks := make([]jetstream.PubAckFuture, n)
	for i := range acks {
		var err error
		if acks[i], err = js.PublishAsync(streamSubject, data, jetstream.WithStallWait(ackWait)); err != nil {
			return err
		}
	}
	for _, a := range acks {
		select {
		case <-a.Ok():
		case err := <-a.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// publishAtomic waits for the acknowledgement of the whole batch (ADR-50 of NATS).
func publishAtomic(ctx context.Context, js jetstream.JetStream, id string, data []byte, n int) error {
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	for i := 1; ; i++ {
		msg := &nats.Msg{Subject: streamSubject, Data: data, Header: nats.Header{
			"Nats-Batch-Id": {id}, "Nats-Batch-Sequence": {strconv.Itoa(i)},
		}}
		if i < n {
			if err := js.Conn().PublishMsg(msg); err != nil {
				return err
			}
			continue
		}
		msg.Header["Nats-Batch-Commit"] = []string{"1"}
		_, err := js.PublishMsg(ctx, msg) // refuses an acknowledgement that is an error
		return err
	}
}
