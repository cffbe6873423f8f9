package player

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/cmd/seguectl/internal/pcm"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
)

// tape keeps the sound, and can stop the play after some of it.
type tape struct {
	bytes.Buffer
	after int
	stop  func()
}

func (t *tape) Write(p []byte) (int, error) {
	n, err := t.Buffer.Write(p)
	if t.stop != nil && t.Len() >= t.after {
		t.stop()
	}
	return n, err
}

func (t *tape) Close() error { return nil }

type events struct {
	mu  sync.Mutex
	all []string
	ev  []Event
}

func (e *events) take(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ev = append(e.ev, ev)
	switch {
	case ev.Started != nil:
		e.all = append(e.all, "started "+ev.Started.GetReason())
	case ev.Seeked != nil:
		e.all = append(e.all, "seeked")
	case ev.Progress != nil:
		e.all = append(e.all, "progress")
	case ev.Ended != nil:
		e.all = append(e.all, "ended "+ev.Ended.GetReason())
	case ev.Error != nil:
		e.all = append(e.all, "error "+ev.Error.GetCode())
	}
}

func player(s *client.Session, sink pcm.Sink, e *events) *Player {
	return &Player{
		Session: s, Line: pcm.NewLine(sink, pcm.Fast), Fast: true, Quality: wire.Kbps160, Random: rand.Reader, Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Report: e.take,
	}
}

// differ says where two pieces of sound part.
func differ(t *testing.T, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%d frames, want %d; they part at frame %d", len(got)/pcm.FrameSize, len(want)/pcm.FrameSize, at/pcm.FrameSize)
}

// Three tracks, over both transports, are the three decoded files one after the other,
// sample by sample.
func TestPlayer_Gapless(t *testing.T) {
	s := newSite(t)
	tracks := []id.ID{s.add(t, 3.3, 160), s.add(t, 12.1, 160), s.add(t, 0.4, 160)}
	var want []byte
	var total uint64
	for _, tr := range tracks {
		want = append(want, s.sound(t, tr)...)
		total += s.tracks[tr].TotalSamples
	}
	for _, transport := range []string{client.TransportQUIC, client.TransportFallback} {
		t.Run(transport, func(t *testing.T) {
			var sink tape
			var ev events
			stats, err := player(s.open(t, transport), &sink, &ev).Play(t.Context(), tracks, 0)
			if err != nil {
				t.Fatal(err)
			}
			differ(t, sink.Bytes(), want)
			if stats.Samples != total || stats.Gaps != 0 || stats.Transport != transport || stats.StartMs <= 0 || stats.Bytes == 0 {
				t.Errorf("stats are %+v, want %d samples", stats, total)
			}
			for i, ts := range stats.Tracks {
				if ts.Samples != s.tracks[tracks[i]].TotalSamples || ts.TotalSamples != ts.Samples || ts.QualityKbps != 160 || ts.Rate != 44100 || ts.Prefetched != (i > 0) {
					t.Errorf("track %d: %+v", i, ts)
				}
			}
			if d := cmp.Diff([]string{
				"started click", "ended track_end", "started autoplay", "progress", "ended track_end", "started autoplay", "ended track_end",
			}, ev.all); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPlayer_From(t *testing.T) {
	s := newSite(t)
	tr := s.add(t, 4, 160)
	whole := s.sound(t, tr)
	for name, from := range map[string]time.Duration{
		"a millisecond": time.Millisecond, "the middle": 2*time.Second + 345*time.Millisecond, "near the end": 3990 * time.Millisecond,
		"the end": 4 * time.Second, "past the end": time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			var sink tape
			var ev events
			stats, err := player(s.open(t, client.TransportQUIC), &sink, &ev).Play(t.Context(), []id.ID{tr}, from)
			if err != nil {
				t.Fatal(err)
			}
			start := min(int(from.Milliseconds()*44100/1000)*pcm.FrameSize, len(whole))
			differ(t, sink.Bytes(), whole[start:])
			if stats.Samples != uint64((len(whole)-start)/pcm.FrameSize) || stats.Gaps != 0 {
				t.Errorf("stats are %+v", stats)
			}
			if d := cmp.Diff([]string{"started click", "seeked", "ended track_end"}, ev.all); d != "" {
				t.Error(d)
			}
			if got := ev.ev[2].Ended.GetHeardMs(); got != stats.Samples*1000/44100 {
				t.Errorf("heard %d ms of %d samples", got, stats.Samples)
			}
		})
	}
}

// The lowest quality is mono at half the rate: it begins and ends at the same instants.
func TestPlayer_LowestQuality(t *testing.T) {
	s := newSite(t)
	tracks := []id.ID{s.add(t, 2, 24), s.add(t, 1, 160)}
	var sink tape
	stats, err := player(s.open(t, client.TransportQUIC), &sink, &events{}).Play(t.Context(), tracks, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sink.Len()/pcm.FrameSize, 44100*3/2+44100; got != want {
		t.Errorf("%d frames, want %d", got, want)
	}
	differ(t, sink.Bytes()[44100*3/2*pcm.FrameSize:], s.sound(t, tracks[1]))
	if ts := stats.Tracks[0]; ts.QualityKbps != 24 || ts.Samples != 22050*3/2 || ts.TotalSamples != 44100 || ts.Rate != 22050 || stats.Gaps != 0 {
		t.Errorf("stats are %+v", stats)
	}
}

func TestPlayer_LeavesOut(t *testing.T) {
	s := newSite(t)
	tracks := []id.ID{s.add(t, 1, 160), {1, 2, 3}, s.add(t, 1, 160)}
	want := slices.Concat(s.sound(t, tracks[0]), s.sound(t, tracks[2]))
	var sink tape
	var ev events
	stats, err := player(s.open(t, client.TransportQUIC), &sink, &ev).Play(t.Context(), tracks, 0)
	if wire.CodeOf(err) != wire.NotFound {
		t.Errorf("error is %v", err)
	}
	differ(t, sink.Bytes(), want)
	if len(stats.Tracks) != 3 || stats.Tracks[1].Error == "" {
		t.Errorf("stats are %+v", stats)
	}
	if d := cmp.Diff([]string{
		"started click", "ended track_end", "error NOT_FOUND", "started autoplay", "ended track_end",
	}, ev.all); d != "" {
		t.Error(d)
	}
}

func TestPlayer_Stopped(t *testing.T) {
	s := newSite(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sink := tape{after: 44100 * pcm.FrameSize, stop: stop}
	var ev events
	tr := s.add(t, 5, 160)
	stats, err := player(s.open(t, client.TransportQUIC), &sink, &ev).Play(ctx, []id.ID{tr, tr}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Samples*pcm.FrameSize > uint64(sink.Len()) || stats.Samples == 0 || len(stats.Tracks) != 1 {
		t.Errorf("stats are %+v, %d frames were written", stats, sink.Len()/pcm.FrameSize)
	}
	if d := cmp.Diff([]string{"started click", "ended stopped"}, ev.all); d != "" {
		t.Error(d)
	}
}

// At the speed of sound the next track is asked for ahead, as a prefetch of the play that
// it becomes.
func TestPlayer_Realtime(t *testing.T) {
	s := newSite(t)
	tracks := []id.ID{s.add(t, 0.8, 160), s.add(t, 0.9, 160)}
	p := player(s.open(t, client.TransportQUIC), pcm.Null{}, &events{})
	p.Line, p.Fast = pcm.NewLine(pcm.Null{}, pcm.Realtime), false
	began := time.Now()
	stats, err := p.Play(t.Context(), tracks, 0)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 1700*time.Millisecond {
		t.Errorf("1.7 s of sound in %v", took)
	}
	if stats.Gaps != 0 || stats.Tracks[1].StartMs != 0 || !stats.Tracks[1].Prefetched {
		t.Errorf("stats are %+v", stats)
	}
	asked := s.asked()
	if len(asked) != 2 || asked[1].Flags&wire.Prefetch == 0 || asked[1].UntilMs != 10_000 || asked[0].PlayID == asked[1].PlayID {
		t.Errorf("asked %+v", asked)
	}
}

func TestNominal(t *testing.T) {
	for bitrate, want := range map[int]uint32{0: 0, -1: 0, 24_000: 24, 96_000: 96, 112_000: 96, 160_000: 160, 320_000: 320, 500_000: 320} {
		if got := nominal(bitrate); got != want {
			t.Errorf("nominal(%d) = %d, want %d", bitrate, got, want)
		}
	}
}
