package warehouse_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

func (w *world) replay(req *warehousev1.ReplayEventsRequest) (out []*warehousev1.ReplayedEvent, err error) {
	w.tb.Helper()
	stream, err := w.client.ReplayEvents(context.Background(), req)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		out = append(out, stream.Msg().GetEvents()...)
	}
	return out, stream.Err()
}

// forgetful is a log that has dropped the records before an offset.
type forgetful struct {
	event.Log
	first int64
}

func (l forgetful) Bounds(ctx context.Context, topic string, p int32) (first, next int64, err error) {
	first, next, err = l.Log.Bounds(ctx, topic, p)
	return max(first, min(next, l.first)), next, err
}

func (l forgetful) Read(ctx context.Context, topic string, p int32, offset int64, follow bool) iter.Seq2[event.Record, error] {
	return l.Log.Read(ctx, topic, p, max(offset, l.first), follow)
}

// TestReplay: what was appended comes back, each record once and in order, though it lies
// in files by time, in the log only, or in files of which the log has dropped all.
func TestReplay(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.conf.FileRows = 7
	w.open()
	var half time.Time
	step := func(n int) {
		for i := range n {
			// Later records may have happened earlier.
			w.event(event.Playback, &eventv1.SessionOpened{}, func(e *eventv1.Envelope) {
				e.Time.Nanos, e.Time.Seconds = 0, e.GetTime().GetSeconds()-int64(i%5)
			})
			w.clock.move(time.Minute)
		}
	}
	step(40)
	if err := w.log.Append(t.Context(), event.Record{Topic: event.Playback, Key: []byte("u1"), Value: []byte("no envelope")}); err != nil {
		t.Fatal(err)
	}
	step(20)
	w.flush()
	half = w.clock.now()
	step(30)
	w.flush()
	step(15)

	want := map[int32][]string{}
	n, err := w.log.Partitions(t.Context(), event.Playback)
	if err != nil {
		t.Fatal(err)
	}
	for p := range n {
		for r, err := range w.log.Read(t.Context(), event.Playback, p, 0, false) {
			if err != nil {
				t.Fatal(err)
			}
			want[p] = append(want[p], fmt.Sprintf("%d %s %x", r.Offset, r.Key, r.Value))
		}
	}
	got := func(req *warehousev1.ReplayEventsRequest) map[int32][]string {
		t.Helper()
		list, err := w.replay(req)
		if err != nil {
			t.Fatal(err)
		}
		out := map[int32][]string{}
		for _, e := range list {
			value := e.GetRaw()
			if e.GetEnvelope() != nil {
				if value, err = event.Marshal(e.GetEnvelope()); err != nil {
					t.Fatal(err)
				}
			}
			if e.GetLogTime().AsTime().Before(time.Date(2026, 3, 29, 0, 58, 0, 0, time.UTC)) || (e.GetJson() != "") != req.GetJson() {
				t.Errorf("record %v", e)
			}
			out[e.GetPartition()] = append(out[e.GetPartition()], fmt.Sprintf("%d %s %x", e.GetOffset(), e.GetKey(), value))
		}
		return out
	}
	all := &warehousev1.ReplayEventsRequest{Topic: event.Playback}
	if diff := cmp.Diff(want, got(all)); diff != "" {
		t.Fatalf("replayed (-want +got):\n%s", diff)
	}
	if _, err := w.store.Compact(t.Context(), func(string, time.Time) bool { return true }); err != nil {
		t.Fatal(err)
	}
	w.wrapLog = func(l event.Log) event.Log { return forgetful{l, 25} }
	w.open()
	if diff := cmp.Diff(want, got(&warehousev1.ReplayEventsRequest{Topic: event.Playback, Json: true})); diff != "" {
		t.Errorf("without the beginning of the log (-want +got):\n%s", diff)
	}
	for p, rows := range want {
		if len(rows) < 10 {
			continue
		}
		if diff := cmp.Diff(map[int32][]string{p: rows[9:]}, got(&warehousev1.ReplayEventsRequest{Topic: event.Playback, Partition: proto.Int32(p), Offset: 9})); diff != "" {
			t.Errorf("partition %d from the tenth on (-want +got):\n%s", p, diff)
		}
	}
	late, err := w.replay(&warehousev1.ReplayEventsRequest{Topic: event.Playback, From: at(half)})
	if err != nil || len(late) < 40 || len(late) > 45 {
		t.Errorf("%d events of the second half, %v", len(late), err)
	}
	for _, e := range late {
		if e.GetEnvelope().GetTime().AsTime().Before(half) {
			t.Errorf("event of %v", e.GetEnvelope().GetTime().AsTime())
		}
	}
	if list, err := w.replay(&warehousev1.ReplayEventsRequest{Topic: event.Playback, Partition: proto.Int32(4000)}); err != nil || len(list) > 0 {
		t.Errorf("a partition that is not there: %d events, %v", len(list), err)
	}
	if _, err := w.replay(&warehousev1.ReplayEventsRequest{Topic: "gossip"}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a topic that is not there: %v", err)
	}
}
