package playback_test

import (
	"testing"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
)

func BenchmarkResolvePlay(b *testing.B) {
	f := setUp(b)
	d := f.open(person("ann"), "phone")
	req := d.play(f.addTrack("a", 24, 96, 160, 320).GetId(), 160)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.svc.ResolvePlay(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckFences(b *testing.B) {
	f := setUp(b)
	d := f.open(person("ann"), "phone")
	d.activate(true)
	req := &playbackv1.CheckFencesRequest{Fences: []*playbackv1.Fence{{UserId: d.who.UserID, SessionId: d.session.GetSessionId(), DeviceId: d.id, ActiveEpoch: 1}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.svc.CheckFences(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
