package metadata_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

func (f *fixture) facts(t *testing.T, name string, ms uint64, gainDB float64, peak int32) *metadatav1.Track {
	t.Helper()
	res, err := f.ingest.SetTrackFacts(t.Context(), &metadatav1.SetTrackFactsRequest{
		TrackId: ident(name), DurationMs: ms, GainTrackQ8: int32(math.Round(gainDB * 256)), PeakQ8: peak,
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetTrack()
}

func (f *fixture) lookup(t *testing.T, name string) *metadatav1.Track {
	t.Helper()
	res, err := f.ingest.LookupTracks(t.Context(), &metadatav1.LookupTracksRequest{Ids: list(ident(name))})
	if err != nil || len(res.GetTracks()) != 1 {
		t.Fatalf("look up %s: %v, %v", name, res, err)
	}
	return res.GetTracks()[0]
}

func TestAlbumGain(t *testing.T) {
	const silence = -96 * 256
	type fact struct {
		ms     uint64
		gainDB float64
		peak   int32
	}
	for _, tt := range []struct {
		name  string
		facts []fact
		want  float64 // dB
	}{
		{"one_track_is_its_own", []fact{{180_000, -5.5, -10}}, -5.5},
		{"equal_tracks", []fact{{100_000, -3, 0}, {200_000, -3, 0}}, -3},
		// -10 log10((100·10^0.6 + 300·10^0)/400)
		{"weighed_by_duration", []fact{{100_000, -6, 0}, {300_000, 0, -5}}, -2.4186},
		{"a_silent_track_only_dilutes", []fact{{100_000, -6, 0}, {100_000, 0, silence}}, -6 + 3.0103},
		{"silence", []fact{{100_000, 0, silence}}, 0},
		{"extremes", []fact{{1_000_000_000, -128, 0}, {1, 127, -20000}}, -10 * math.Log10(float64(1<<50)/1e9/1e5)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setUp(t)
			for i := range tt.facts {
				f.put(t, fmt.Sprint(i), &tags{Title: "x", Artists: list("A"), Album: "X", Number: uint32(i + 1)})
			}
			var last *metadatav1.Track
			for i, fa := range tt.facts {
				if last != nil && last.GetGainAlbumQ8() != 0 {
					t.Error("the album has a gain before all of it was measured")
				}
				last = f.facts(t, fmt.Sprint(i), fa.ms, fa.gainDB, fa.peak)
			}
			f.events(t)
			f.spread(t)
			want := int32(math.Round(tt.want * 256))
			for i := range tt.facts {
				if got := f.lookup(t, fmt.Sprint(i)).GetGainAlbumQ8(); got != want {
					t.Errorf("track %d has %d, want %d", i, got, want)
				}
			}
			told := 0
			for _, e := range f.events(t) {
				if e.GetType() == "TrackChanged" && payload(t, e, &eventv1.TrackChanged{}).GetTrack().GetGainAlbumQ8() == want {
					told++
				}
			}
			if want != 0 && told != len(tt.facts)-1 {
				t.Errorf("%d other tracks were told, want %d", told, len(tt.facts)-1)
			}
		})
	}
}

// TestAlbumGain_Exact: whatever came and went, the sum is that of what is there.
func TestAlbumGain_Exact(t *testing.T) {
	f := setUp(t)
	for i := range 8 {
		f.put(t, fmt.Sprint(i), &tags{Title: "x", Artists: list("A"), Album: "X", Number: uint32(i + 1)})
		f.facts(t, fmt.Sprint(i), uint64(100_001+i*777), -float64(i), -3)
	}
	for i := 1; i < 8; i++ {
		f.put(t, fmt.Sprint(i), &tags{Title: "x", Artists: list("A"), Album: "Y", Number: uint32(i + 1)})
	}
	f.facts(t, "0", 100_001, -7.25, -3)
	f.spread(t)
	if got := f.lookup(t, "0").GetGainAlbumQ8(); got != -7.25*256 {
		t.Errorf("album gain is %g dB", float64(got)/256)
	}
}

// TestSpread_Names: the spelling that most files use wins, in every track and album.
func TestSpread_Names(t *testing.T) {
	f := setUp(t)
	spell := list("ABBA", "Abba", "Abba", "Abba")
	for i, s := range spell {
		f.put(t, fmt.Sprint(i), &tags{Title: "x", Artists: list(s), Album: "Waterloo", Number: uint32(i + 1)})
	}
	f.put(t, "other", &tags{Title: "x", Artists: list("Can"), Featured: list("ABBA"), Album: "Z"})
	f.events(t)
	// A repeat changes nothing, even where the track still shows the old name.
	f.put(t, "0", &tags{Title: "x", Artists: list("ABBA"), Album: "Waterloo", Number: 1})
	if e := f.events(t); len(e) != 0 {
		t.Errorf("a repeat before the spread made events: %v", types(e))
	}
	f.spread(t)
	for _, name := range list("0", "1", "2", "3", "other") {
		track := f.lookup(t, name)
		want := "Abba"
		if name == "other" {
			want = "Can feat. Abba"
		}
		if got := credited(track.GetCredits()); got != want {
			t.Errorf("track %s is by %q", name, got)
		}
	}
	if diff := cmp.Diff(list("Abba: Waterloo ×4", "Can: Z ×1"), f.albums(t)); diff != "" {
		t.Errorf("albums (-want +got):\n%s", diff)
	}
	if got := types(f.events(t)); got["TrackChanged"] == 0 {
		t.Errorf("nobody was told: %v", got)
	}
	f.spread(t)
	if e := f.events(t); len(e) != 0 {
		t.Errorf("a second spread changed something: %v", types(e))
	}
}

func TestSpread_Artwork(t *testing.T) {
	f := setUp(t)
	const tracks = 70 // more than one batch
	for i := range tracks {
		f.put(t, fmt.Sprint(i), &tags{Title: "x", Artists: list("A"), Album: "X", Number: uint32(i + 1)})
	}
	put := func(name, cover string) {
		t.Helper()
		if _, err := f.ingest.PutArtwork(t.Context(), &metadatav1.PutArtworkRequest{TrackId: ident(name), Artwork: artwork(cover)}); err != nil {
			t.Fatal(err)
		}
	}
	put("3", "odd")
	put("4", "cover")
	put("5", "cover")
	f.spread(t)
	for i := range tracks {
		want := artwork("cover")
		if i == 3 {
			want = artwork("odd")
		}
		if got := f.lookup(t, fmt.Sprint(i)).GetArtwork(); got.GetId() != want.GetId() {
			t.Fatalf("track %d shows %s, want %s", i, got.GetId(), want.GetId())
		}
	}
}

// TestService_Run spreads by itself, and what was left behind by an earlier process.
func TestService_Run(t *testing.T) {
	f := setUp(t)
	for i, s := range list("ABBA", "Abba", "Abba") {
		f.put(t, fmt.Sprint(i), &tags{Title: "x", Artists: list(s), Album: "Waterloo", Number: uint32(i + 1)})
	}
	f.pass(time.Minute)
	f.serve(t, f.store) // as after a restart
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.service.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for credited(f.lookup(t, "0").GetCredits()) != "Abba" {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the name was not spread")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}
