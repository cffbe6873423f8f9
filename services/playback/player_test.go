package playback_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/fault"
)

func items(n int) (q []*playbackv1.QueueItem) {
	for i := range n {
		q = append(q, &playbackv1.QueueItem{TrackId: ident("track", i), ContextUri: "segue:album:x"})
	}
	return q
}

func TestPlayer_Update(t *testing.T) {
	f := setUp(t)
	ann := f.players(person("ann"))
	fresh, err := ann.GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
	if err != nil || fresh.GetState().GetRevision() != 0 || fresh.GetState().GetVolumeMilli() != 1000 {
		t.Fatalf("new player %v, %v", fresh, err)
	}
	want := &playbackv1.PlayerState{
		Queue: items(3), Index: 2, PositionMs: 1234, Playing: true, Shuffle: true, Repeat: playbackv1.Repeat_REPEAT_ONE,
		VolumeMilli: 700, QualityKbps: 160,
	}
	sent := proto.CloneOf(want)
	// What only the server says is not taken from the request.
	sent.Revision, sent.ActiveEpoch, sent.ActiveDeviceId, sent.AtUnixMs = 99, 98, ident("device", "x"), 97
	sent.Devices = []*playbackv1.Device{{Id: ident("device", "forged")}}
	res, err := ann.UpdatePlayer(t.Context(), &playbackv1.UpdatePlayerRequest{DeviceId: ident("device", "phone"), State: sent})
	if err != nil {
		t.Fatal(err)
	}
	want.Revision, want.AtUnixMs = 1, f.now().UnixMilli()
	want.Devices = []*playbackv1.Device{{Id: ident("device", "phone"), LastSeenUnixMs: f.now().UnixMilli()}}
	if d := cmp.Diff(want, res.GetState(), protocmp.Transform()); d != "" {
		t.Error(d)
	}
	f.restart()
	kept, err := f.players(person("ann")).GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, kept.GetState(), protocmp.Transform()); d != "" {
		t.Error(d)
	}
	other, err := f.players(person("bob")).GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
	if err != nil || other.GetState().GetRevision() != 0 {
		t.Errorf("another listener's player: %v, %v", other, err)
	}
}

func TestPlayer_Refused(t *testing.T) {
	f := setUp(t)
	for name, c := range map[string]struct {
		change func(*playbackv1.UpdatePlayerRequest)
		want   fault.Kind
	}{
		"good":              {func(*playbackv1.UpdatePlayerRequest) {}, 0},
		"stale":             {func(*playbackv1.UpdatePlayerRequest) {}, fault.Conflict},
		"future":            {func(r *playbackv1.UpdatePlayerRequest) { r.Revision = 9 }, fault.Conflict},
		"no_state":          {func(r *playbackv1.UpdatePlayerRequest) { r.State = nil }, fault.Invalid},
		"no_device":         {func(r *playbackv1.UpdatePlayerRequest) { r.DeviceId = "" }, fault.Invalid},
		"index_past_end":    {func(r *playbackv1.UpdatePlayerRequest) { r.State.Index = 3 }, fault.Invalid},
		"index_of_nothing":  {func(r *playbackv1.UpdatePlayerRequest) { r.State = &playbackv1.PlayerState{Index: 1} }, fault.Invalid},
		"playing_nothing":   {func(r *playbackv1.UpdatePlayerRequest) { r.State = &playbackv1.PlayerState{Playing: true} }, fault.Invalid},
		"position_past_day": {func(r *playbackv1.UpdatePlayerRequest) { r.State.PositionMs = 1 << 63 }, fault.Invalid},
		"loud":              {func(r *playbackv1.UpdatePlayerRequest) { r.State.VolumeMilli = 1001 }, fault.Invalid},
		"odd_quality":       {func(r *playbackv1.UpdatePlayerRequest) { r.State.QualityKbps = 128 }, fault.Invalid},
		"unknown_repeat":    {func(r *playbackv1.UpdatePlayerRequest) { r.State.Repeat = 9 }, fault.Invalid},
		"hostile_track":     {func(r *playbackv1.UpdatePlayerRequest) { r.State.Queue[0].TrackId = "<script>" }, fault.Invalid},
		"queue_too_long":    {func(r *playbackv1.UpdatePlayerRequest) { r.State.Queue = items(20_001) }, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			who := person(name)
			req := func() *playbackv1.UpdatePlayerRequest {
				return &playbackv1.UpdatePlayerRequest{DeviceId: ident("device", 1), State: &playbackv1.PlayerState{Queue: items(3)}}
			}
			if name == "stale" {
				if _, err := f.players(who).UpdatePlayer(t.Context(), req()); err != nil {
					t.Fatal(err)
				}
			}
			r := req()
			c.change(r)
			_, err := f.players(who).UpdatePlayer(t.Context(), r)
			wantKind(t, "update", err, c.want)
		})
	}
}

// TestPlayer_Devices: the list is bounded and never loses the active device.
func TestPlayer_Devices(t *testing.T) {
	f := setUp(t)
	active := f.open(person("ann"), "active")
	active.activate(false)
	for i := range 40 {
		f.advance(1000)
		f.open(person("ann"), fmt.Sprint("guest ", i))
	}
	res, err := f.players(person("ann")).GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, d := range res.GetState().GetDevices() {
		names[d.GetName()] = true
	}
	if len(names) != 32 || !names["active"] || !names["guest 39"] || names["guest 0"] {
		t.Errorf("%d devices: %v", len(names), names)
	}
	before := res.GetState().GetRevision()
	f.open(person("ann"), "guest 39") // again: nothing new
	res, err = f.players(person("ann")).GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
	if err != nil || res.GetState().GetRevision() != before {
		t.Errorf("revision %d after %d, %v", res.GetState().GetRevision(), before, err)
	}
}

func TestPlayer_Watch(t *testing.T) {
	f := setUp(t)
	f.conf.Refresh = 20_000_000 // 20 ms
	f.restart()
	d := f.open(person("ann"), "phone")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listener, err := f.players(person("ann")).WatchPlayer(ctx, &playbackv1.WatchPlayerRequest{UserId: uid("bob")})
	if err != nil {
		t.Fatal(err)
	}
	edge, err := f.players(service("edge")).WatchPlayer(ctx, &playbackv1.WatchPlayerRequest{UserId: uid("ann"), SinceRevision: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !listener.Receive() || listener.Msg().GetState().GetRevision() != 1 {
		t.Fatalf("first state: %v, %v", listener.Msg(), listener.Err())
	}
	want := d.activate(true)
	for !edge.Receive() || edge.Msg().GetState().GetRevision() < want.GetRevision() {
		if edge.Err() != nil {
			t.Fatal(edge.Err())
		}
	}
	if d := cmp.Diff(want, edge.Msg().GetState(), protocmp.Transform()); d != "" {
		t.Error(d)
	}
	// A change of another instance brings no notification here, and is seen all the same.
	lost := proto.CloneOf(want)
	lost.Revision++
	lost.VolumeMilli = 77
	if err := f.store.PutPlayer(t.Context(), uid("ann"), lost); err != nil {
		t.Fatal(err)
	}
	for listener.Receive() && listener.Msg().GetState().GetRevision() < lost.GetRevision() {
	}
	if got := listener.Msg().GetState().GetVolumeMilli(); got != 77 {
		t.Errorf("volume %d, %v", got, listener.Err())
	}
	nobody, err := f.players(service("edge")).WatchPlayer(ctx, &playbackv1.WatchPlayerRequest{})
	if err == nil && nobody.Receive() {
		t.Error("an edge watches nobody")
	}
}
