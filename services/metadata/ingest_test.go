package metadata_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"

	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/services/metadata"
)

func rendition(kbps uint32) *metadatav1.Rendition {
	return &metadatav1.Rendition{
		Kbps: kbps, ObjectId: fmt.Sprintf("%032x", kbps), Codec: "vorbis", SampleRate: 44100, Channels: 2, TotalSamples: 44100 * 180, Bytes: 1 << 20,
	}
}

func artwork(name string) *metadatav1.Artwork {
	return &metadatav1.Artwork{Id: ident(name), Width: 640, Height: 640, MeanRgb: 0x123456}
}

// calls are one of each ingest call on the track "one".
func (f *fixture) calls() []func(context.Context) (proto.Message, error) {
	track := ident("one")
	return []func(context.Context) (proto.Message, error){
		func(ctx context.Context) (proto.Message, error) {
			return f.ingest.PutTrack(ctx, &metadatav1.PutTrackRequest{
				TrackId: track, OwnerId: owner, DurationMs: 180_000,
				Tags: &tags{Title: "One", Artists: list("Can", "Neu!"), Featured: list("Faust"), Album: "Tago Mago", Number: 1, Date: "1971", Genres: list("Rock")},
			})
		},
		func(ctx context.Context) (proto.Message, error) {
			return f.ingest.PutArtwork(ctx, &metadatav1.PutArtworkRequest{TrackId: track, Artwork: artwork("cover")})
		},
		func(ctx context.Context) (proto.Message, error) {
			return f.ingest.SetTrackFacts(ctx, &metadatav1.SetTrackFactsRequest{TrackId: track, DurationMs: 180_123, GainTrackQ8: -900, PeakQ8: -10})
		},
		func(ctx context.Context) (proto.Message, error) {
			return f.ingest.FailTrack(ctx, &metadatav1.FailTrackRequest{TrackId: track, Reason: "no sound in it"})
		},
		func(ctx context.Context) (proto.Message, error) {
			return f.ingest.PublishRendition(ctx, &metadatav1.PublishRenditionRequest{TrackId: track, Rendition: rendition(96)})
		},
	}
}

func TestIngest_Repeat(t *testing.T) {
	f := setUp(t)
	for i, call := range f.calls() {
		first, err := call(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(f.events(t)); n == 0 {
			t.Errorf("call %d made no event", i)
		}
		f.pass(time.Hour)
		again, err := call(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
			t.Errorf("call %d answers differently when repeated (-first +again):\n%s", i, diff)
		}
		if e := f.events(t); len(e) != 0 {
			t.Errorf("call %d made events when repeated: %v", i, types(e))
		}
	}
	// The whole pipeline once more, late: what a later call brought stays.
	for i, call := range f.calls() {
		if _, err := call(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e := f.events(t); len(e) != 0 {
			t.Errorf("call %d made events when repeated late: %v", i, types(e))
		}
	}
}

func TestIngest_States(t *testing.T) {
	f := setUp(t)
	track := f.put(t, "one", &tags{Title: "One", Artists: list("Can"), Album: "X"})
	if track.GetState() != metadatav1.TrackState_TRACK_STATE_PENDING {
		t.Errorf("a new track is %v", track.GetState())
	}
	f.events(t)
	for i, kbps := range []uint32{96, 24, 320, 160} {
		res, err := f.ingest.PublishRendition(t.Context(), &metadatav1.PublishRenditionRequest{TrackId: track.GetId(), Rendition: rendition(kbps)})
		if err != nil {
			t.Fatal(err)
		}
		want := metadatav1.TrackState_TRACK_STATE_PLAYABLE
		if i == 3 {
			want = metadatav1.TrackState_TRACK_STATE_COMPLETE
		}
		if res.GetTrack().GetState() != want {
			t.Errorf("with %d renditions it is %v", i+1, res.GetTrack().GetState())
		}
		events := f.events(t)
		if diff := cmp.Diff(map[string]int{"TrackChanged": 1, "RenditionPublished": 1}, types(events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		whole := payload(t, events[0], &eventv1.TrackChanged{}).GetTrack()
		if diff := cmp.Diff(res.GetTrack(), whole, protocmp.Transform()); diff != "" {
			t.Errorf("the event has not the whole new state:\n%s", diff)
		}
		if events[0].GetRevision() != whole.GetRevision() || events[0].GetSubject() != "track:"+track.GetId() {
			t.Errorf("event of %s at %d", events[0].GetSubject(), events[0].GetRevision())
		}
		track = res.GetTrack()
	}
	var kbps []uint32
	for _, r := range track.GetRenditions() {
		kbps = append(kbps, r.GetKbps())
	}
	if diff := cmp.Diff([]uint32{24, 96, 160, 320}, kbps); diff != "" {
		t.Errorf("renditions (-want +got):\n%s", diff)
	}
	// A better encoding replaces a rendition.
	better := rendition(96)
	better.ObjectId = strings.Repeat("ab", 16)
	res, err := f.ingest.PublishRendition(t.Context(), &metadatav1.PublishRenditionRequest{TrackId: track.GetId(), Rendition: better})
	if err != nil || res.GetTrack().GetRenditions()[1].GetObjectId() != better.GetObjectId() || len(res.GetTrack().GetRenditions()) != 4 {
		t.Errorf("replaced: %v, %v", res, err)
	}
	// What plays is not failed by a late failure.
	if _, err := f.ingest.FailTrack(t.Context(), &metadatav1.FailTrackRequest{TrackId: track.GetId(), Reason: "disk full"}); err != nil {
		t.Fatal(err)
	}
	got, err := f.ingest.LookupTracks(t.Context(), &metadatav1.LookupTracksRequest{Ids: list(ident("none"), track.GetId())})
	if err != nil || len(got.GetTracks()) != 1 || got.GetTracks()[0].GetState() != metadatav1.TrackState_TRACK_STATE_COMPLETE {
		t.Errorf("after a late failure: %v, %v", got, err)
	}
}

func TestIngest_Fail(t *testing.T) {
	f := setUp(t)
	track := f.put(t, "one", &tags{Title: "One", Artists: list("Can"), Album: "X"})
	if _, err := f.ingest.FailTrack(t.Context(), &metadatav1.FailTrackRequest{TrackId: track.GetId(), Reason: "no sound\u202e in\n it"}); err != nil {
		t.Fatal(err)
	}
	_, err := f.as(listener()).GetAlbum(t.Context(), &metadatav1.GetAlbumRequest{Id: track.GetAlbumId()})
	if connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("a listener and a failed track: %v", err)
	}
	own, err := f.as(artist()).GetAlbum(t.Context(), &metadatav1.GetAlbumRequest{Id: track.GetAlbumId()})
	if err != nil || own.GetTracks()[0].GetFailure() != "no sound in it" || own.GetTracks()[0].GetState() != metadatav1.TrackState_TRACK_STATE_FAILED {
		t.Errorf("the owner and a failed track: %v, %v", own, err)
	}
	res, err := f.ingest.PublishRendition(t.Context(), &metadatav1.PublishRenditionRequest{TrackId: track.GetId(), Rendition: rendition(96)})
	if err != nil || res.GetTrack().GetFailure() != "" || res.GetTrack().GetState() != metadatav1.TrackState_TRACK_STATE_PLAYABLE {
		t.Errorf("after a retry: %v, %v", res, err)
	}
	if _, err = f.as(listener()).GetAlbum(t.Context(), &metadatav1.GetAlbumRequest{Id: track.GetAlbumId()}); err != nil {
		t.Errorf("after a retry: %v", err)
	}
}

func TestIngest_Errors(t *testing.T) {
	f := setUp(t)
	one := f.put(t, "one", &tags{Title: "One"})
	ctx := t.Context()
	tests := []struct {
		name string
		call func() error
		want connect.Code
	}{
		{"another_owner", func() error {
			_, err := f.ingest.PutTrack(ctx, &metadatav1.PutTrackRequest{TrackId: one.GetId(), OwnerId: ident("other"), Tags: &tags{Title: "Mine"}})
			return err
		}, connect.CodeAlreadyExists},
		{"artwork_of_no_track", func() error {
			_, err := f.ingest.PutArtwork(ctx, &metadatav1.PutArtworkRequest{TrackId: ident("none"), Artwork: artwork("a")})
			return err
		}, connect.CodeNotFound},
		{"rendition_of_no_track", func() error {
			_, err := f.ingest.PublishRendition(ctx, &metadatav1.PublishRenditionRequest{TrackId: ident("none"), Rendition: rendition(96)})
			return err
		}, connect.CodeNotFound},
		{"facts_of_no_track", func() error {
			_, err := f.ingest.SetTrackFacts(ctx, &metadatav1.SetTrackFactsRequest{TrackId: ident("none")})
			return err
		}, connect.CodeNotFound},
		{"failure_of_no_track", func() error {
			_, err := f.ingest.FailTrack(ctx, &metadatav1.FailTrackRequest{TrackId: ident("none")})
			return err
		}, connect.CodeNotFound},
		{"rendition_of_no_such_rate", func() error {
			_, err := f.ingest.PublishRendition(ctx, &metadatav1.PublishRenditionRequest{TrackId: one.GetId(), Rendition: rendition(128)})
			return err
		}, connect.CodeInvalidArgument},
		{"artwork_id_with_a_path", func() error {
			_, err := f.ingest.PutArtwork(ctx, &metadatav1.PutArtworkRequest{TrackId: one.GetId(), Artwork: &metadatav1.Artwork{Id: "../../../../etc/passwd"}})
			return err
		}, connect.CodeInvalidArgument},
		{"track_id_of_another_form", func() error {
			_, err := f.ingest.PutTrack(ctx, &metadatav1.PutTrackRequest{TrackId: "1", OwnerId: owner, Tags: &tags{}})
			return err
		}, connect.CodeInvalidArgument},
	}
	f.events(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(); connect.CodeOf(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if e := f.events(t); len(e) != 0 {
		t.Errorf("refused calls made events: %v", types(e))
	}
}

func TestIngest_Tags(t *testing.T) {
	f := setUp(t)
	track := f.putFile(t, &metadatav1.PutTrackRequest{
		TrackId: ident("t"), OwnerId: owner, FileName: "Music/CD1/1-07 a_song.flac",
		Tags: &tags{
			Artists: list("A", "B"), ArtistJoins: list(" & "), Featured: list("C", "D"), Album: "X",
			Isrc: "us-rc1-76-07839", Composers: list("Bach", "bach", "Händel"), Genres: list("Rock", "rock", " Pop "), Licence: "CC BY 4.0",
			Date: "2001-02-31x", Explicit: true,
		},
	})
	want := &metadatav1.Track{Title: "a song", Disc: 1, Number: 7, Isrc: "USRC17607839", Composer: "Bach, Händel", Licence: "CC BY 4.0", Genres: list("Rock", "Pop")}
	got := &metadatav1.Track{
		Title: track.GetTitle(), Disc: track.GetDisc(), Number: track.GetNumber(), Isrc: track.GetIsrc(), Composer: track.GetComposer(),
		Licence: track.GetLicence(), Genres: track.GetGenres(), Date: track.GetDate(),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("track (-want +got):\n%s", diff)
	}
	if c := credited(track.GetCredits()); c != "A & B feat. C, D" {
		t.Errorf("credits read %q", c)
	}
	if !track.GetAvailability().GetExplicit() {
		t.Error("explicit is lost")
	}
	// Hostile sizes stay within an event.
	huge := &tags{Title: strings.Repeat("ä", 512), Album: strings.Repeat("<b>", 300)}
	for i := range 64 {
		name := fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000))
		huge.Artists, huge.Featured = append(huge.Artists, name), append(huge.Featured, "f"+name)
		huge.AlbumArtists, huge.Composers = append(huge.AlbumArtists, "a"+name), append(huge.Composers, name)
	}
	f.put(t, "huge", huge)
}

func TestIngest_Retag(t *testing.T) {
	f := setUp(t)
	f.put(t, "one", &tags{Title: "One", Artists: list("Can"), Album: "Wrong", Number: 1})
	f.put(t, "two", &tags{Title: "Two", Artists: list("Can"), Album: "Right", Number: 2})
	if _, err := f.ingest.PublishRendition(t.Context(), &metadatav1.PublishRenditionRequest{TrackId: ident("one"), Rendition: rendition(96)}); err != nil {
		t.Fatal(err)
	}
	f.events(t)
	track := f.put(t, "one", &tags{Title: "One", Artists: list("Neu!"), AlbumArtists: list("Can"), Album: "Right", Number: 1})
	if len(track.GetRenditions()) != 1 || track.GetState() != metadatav1.TrackState_TRACK_STATE_PLAYABLE {
		t.Errorf("new tags cost the renditions: %v", track)
	}
	if diff := cmp.Diff(list("Can: Right ×2"), f.albums(t)); diff != "" {
		t.Errorf("albums (-want +got):\n%s", diff)
	}
	gone := 0
	for _, e := range f.events(t) {
		if e.GetType() == "AlbumChanged" {
			if a := payload(t, e, &eventv1.AlbumChanged{}).GetAlbum(); a.GetTrackCount() == 0 {
				gone++
			}
		}
	}
	if gone != 1 {
		t.Errorf("%d albums are told to be gone, want 1", gone)
	}
	// The album comes back with its id.
	back := f.put(t, "three", &tags{Title: "Three", Artists: list("Can"), Album: "Wrong", Number: 1})
	if diff := cmp.Diff(list("Can: Right ×2", "Can: Wrong ×1"), f.albums(t)); diff != "" {
		t.Errorf("albums (-want +got):\n%s", diff)
	}
	res, err := f.as(listener()).GetArtist(t.Context(), &metadatav1.GetArtistRequest{Id: back.GetCredits()[0].GetArtist().GetId()})
	if err != nil || res.GetArtist().GetAlbumCount() != 2 || res.GetArtist().GetTrackCount() != 3 {
		t.Errorf("artist: %v, %v", res, err)
	}
}

func TestIngest_ConcurrentAlbum(t *testing.T) {
	f := setUp(t)
	const tracks = 24
	errs := make(chan error)
	for i := range tracks {
		go func() {
			_, err := f.ingest.PutTrack(t.Context(), &metadatav1.PutTrackRequest{
				TrackId: ident(fmt.Sprint(i)), OwnerId: owner, DurationMs: 1000,
				Tags: &tags{Title: fmt.Sprint(i), Artists: list("Can"), Album: "Tago Mago", Number: uint32(i + 1), FolderKey: "f"},
			})
			errs <- err
		}()
	}
	for range tracks {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(list("Can: Tago Mago ×24"), f.albums(t)); diff != "" {
		t.Errorf("albums (-want +got):\n%s", diff)
	}
	revisions := map[string]uint64{}
	for _, e := range f.events(t) {
		if e.GetRevision() != revisions[e.GetSubject()]+1 {
			t.Fatalf("%s goes from %d to %d", e.GetSubject(), revisions[e.GetSubject()], e.GetRevision())
		}
		revisions[e.GetSubject()]++
	}
}

func TestIngest_OwnersStayApart(t *testing.T) {
	f := setUp(t)
	file := &tags{Title: "A", Artists: list("Can"), Album: "Tago Mago", Number: 1, MusicbrainzAlbumId: mbA, FolderKey: "f"}
	mine := f.put(t, "mine", file)
	other := f.putFile(t, &metadatav1.PutTrackRequest{TrackId: ident("other"), OwnerId: ident("label"), Tags: file})
	if mine.GetAlbumId() == other.GetAlbumId() {
		t.Error("a file of another owner came onto the album")
	}
	if mine.GetCredits()[0].GetArtist().GetId() != other.GetCredits()[0].GetArtist().GetId() {
		t.Error("the artist was doubled")
	}
}

// prefix stops every change after its first n parts, as an engine without transactions
// that crashes there.
type prefix struct {
	metadata.Store
	parts int
	cut   bool
}

var errCrash = errors.New("crashed")

func (s *prefix) Change(ctx context.Context, plan metadata.Plan) error {
	s.cut = false
	err := s.Store.Change(ctx, func(ctx context.Context, v metadata.View) (*metadata.Change, error) {
		c, err := plan(ctx, v)
		if err != nil || c == nil {
			return c, err
		}
		n := s.parts
		n = keep(&c.Claims, n, &s.cut)
		n = keep(&c.Marks, n, &s.cut)
		n = keep(&c.Artists, n, &s.cut)
		n = keep(&c.Albums, n, &s.cut)
		n = keep(&c.Tracks, n, &s.cut)
		keep(&c.Done, n, &s.cut)
		return c, nil
	})
	if err == nil && s.cut {
		return errCrash
	}
	return err
}

func keep[T any](list *[]T, n int, cut *bool) int {
	if len(*list) > n {
		*list, *cut = (*list)[:n], true
	}
	return n - len(*list)
}

// TestIngest_CrashBetweenParts holds the promise of Store.Change: after a crash between
// any two parts the same call completes the rest, and the sums are right.
func TestIngest_CrashBetweenParts(t *testing.T) {
	files := []*tags{
		{Title: "A", Artists: list("Can"), Album: "Tago", Number: 1, FolderKey: "f"},
		{Title: "B", Artists: list("can"), Featured: list("Faust"), Album: "Tago", Number: 2, FolderKey: "f"},
		{Title: "C", Artists: list("Neu!"), AlbumArtists: list("Neu!"), Album: "Neu! 75", Number: 1},
		{Title: "A", Artists: list("Neu!"), Album: "Tago", Number: 1, FolderKey: "f"}, // the first file, tagged anew
	}
	names := []string{"a", "b", "c", "a"}
	run := func(t *testing.T, f *fixture, each func(put func() error) error) []string {
		for i, file := range files {
			err := each(func() error {
				_, err := f.ingest.PutTrack(t.Context(), &metadatav1.PutTrackRequest{TrackId: ident(names[i]), OwnerId: owner, Tags: file, DurationMs: 1000})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		f.spread(t)
		out := f.albums(t)
		res, err := f.as(admin()).ListArtists(t.Context(), &metadatav1.ListArtistsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range res.GetArtists() {
			out = append(out, fmt.Sprintf("%s: %d tracks, %d albums", a.GetName(), a.GetTrackCount(), a.GetAlbumCount()))
		}
		return out
	}
	want := run(t, setUp(t), func(put func() error) error { return put() })
	for parts := range 12 {
		f := setUp(t)
		crashing := &prefix{Store: f.store, parts: parts}
		f.serve(t, crashing)
		got := run(t, f, func(put func() error) error {
			crashing.parts = parts
			if put() == nil {
				return nil
			}
			crashing.parts = 1000
			return put()
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("a crash after %d parts (-want +got):\n%s", parts, diff)
		}
	}
}

func TestIngest_OnlyForUpload(t *testing.T) {
	f := setUp(t)
	for _, who := range []identity.Identity{{}, {Target: "edge"}, {Target: "gateway", UserID: owner, Roles: admin().Roles}} {
		c := f.ingestAs(who)
		if _, err := c.PutTrack(t.Context(), &metadatav1.PutTrackRequest{TrackId: ident("x"), OwnerId: owner, Tags: &tags{}}); err == nil {
			t.Errorf("%v may put a track", who)
		}
	}
	if _, err := f.ingestAs(identity.Identity{Target: "playback"}).LookupTracks(t.Context(), &metadatav1.LookupTracksRequest{Ids: list(ident("x"))}); err != nil {
		t.Errorf("playback looks up: %v", err)
	}
}
