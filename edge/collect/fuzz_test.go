package collect

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/stream/id"
)

// FuzzCheck reads any bytes as a client's event: what passes the check fits into a
// record of the log, whatever it says.
func FuzzCheck(f *testing.F) {
	play, track := id.Derive("play").String(), id.Derive("track").String()
	for _, e := range []*collectv1.ClientEvent{
		{Id: "1", Payload: &collectv1.ClientEvent_Started{Started: &eventv1.PlaybackStarted{PlayId: play, TrackId: track, Reason: "click", Transport: "quic"}}},
		{Id: "2", Payload: &collectv1.ClientEvent_Progress{Progress: &eventv1.PlaybackProgress{PlayId: play, TrackId: track, HeardMs: 10}}},
		{Id: "3", Payload: &collectv1.ClientEvent_Diagnostic{Diagnostic: &eventv1.ClientDiagnostic{Name: "vital.lcp", Values: map[string]float64{"ms": 5}, Labels: map[string]string{"page": "home"}}}},
		{Id: "4", Payload: &collectv1.ClientEvent_Quality{Quality: &eventv1.QualityChanged{PlayId: play, TrackId: track, FromKbps: 96, ToKbps: 160}}},
		{Id: "5"},
	} {
		b, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := &collectv1.ClientEvent{}
		if proto.Unmarshal(b, e) != nil {
			return
		}
		m := payloadOf(e)
		if check(m) != "" {
			return
		}
		if n := proto.Size(m); n > event.MaxValue-4<<10 {
			t.Fatalf("an event of %d bytes is let through", n)
		}
	})
}
