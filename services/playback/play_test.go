package playback

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// TestPlay_Any: whatever comes in whatever order and at whatever time, a play is counted
// at most once, for no more than was served, and a refused event changes nothing.
func TestPlay_Any(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Play{UserID: "u", ID: "p", TrackMS: rapid.Uint64Range(0, 60_000).Draw(t, "length")}
		now := time.UnixMilli(1_750_000_000_000)
		sweep := timings{10 * time.Minute, time.Hour, 30 * time.Second}
		var served, counted uint64
		listens := 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(-3_600_000, 3_600_000).Draw(t, "clock")) * time.Millisecond)
			ms := rapid.Uint64Range(0, 60_000).Draw(t, "ms")
			track := rapid.SampledFrom([]string{"a", "a", "a", "b"}).Draw(t, "track")
			var m proto.Message
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				m = &eventv1.PlaybackStarted{TrackId: track, Reason: "click"}
			case 1:
				m = &eventv1.PlaybackProgress{TrackId: track, HeardMs: ms}
			case 2:
				m = &eventv1.PlaybackPaused{TrackId: track, HeardMs: ms}
			case 3:
				m = &eventv1.PlaybackResumed{TrackId: track}
			case 4:
				m = &eventv1.PlaybackSkipped{TrackId: track, HeardMs: ms}
			case 5:
				m = &eventv1.PlaybackEnded{TrackId: track, HeardMs: ms, Reason: "track_end"}
			case 6:
				m = &eventv1.StreamServed{TrackId: track, ServedMs: ms}
			case 7:
				if !p.Due.IsZero() && !p.Due.After(now) && (p.Phase == PhasePlaying || p.Phase == PhasePaused) {
					p.lapse(now)
				}
			default:
				p.serve(now, track, ms, ms)
				served += ms
			}
			if m != nil {
				before := p
				if why := p.observe(now, m); why != "" && p != before {
					t.Fatalf("refused (%s) and changed: %+v after %+v", why, p, before)
				}
				if h, ok := m.(interface{ GetHeardMs() uint64 }); ok && h.GetHeardMs() > served && p.admits(m) == "" {
					t.Fatalf("published %d ms heard of %d served", h.GetHeardMs(), served)
				}
			}
			if l := p.settle(now, sweep); l != nil {
				listens++
				counted = l.GetHeardMs()
			}
		}
		if listens > 1 || counted > served || p.heard() > served {
			t.Fatalf("%d listens of %d ms, %d served: %+v", listens, counted, served, p)
		}
		if (listens == 1) != p.Counted {
			t.Fatalf("counted %v, %d listens", p.Counted, listens)
		}
	})
}
