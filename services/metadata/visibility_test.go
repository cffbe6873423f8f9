package metadata_test

import (
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"

	"github.com/segue-music/segue/internal/identity"
)

// sees asks every way of reading for the one track of the catalogue, and wants one answer.
func (f *fixture) sees(t *testing.T, who identity.Identity, track *metadatav1.Track) bool {
	t.Helper()
	c, ctx := f.as(who), t.Context()
	got := map[string]bool{}
	byID, err := c.GetTracks(ctx, &metadatav1.GetTracksRequest{Ids: list(track.GetId())})
	if err != nil {
		t.Fatal(err)
	}
	got["GetTracks"] = len(byID.GetTracks()) == 1
	tracks, err := c.ListTracks(ctx, &metadatav1.ListTracksRequest{})
	if err != nil {
		t.Fatal(err)
	}
	got["ListTracks"], got["ListTracks total"] = len(tracks.GetTracks()) == 1, tracks.GetTotal() == 1
	for _, order := range list("added", "title", "artist", "date") {
		albums, err := c.ListAlbums(ctx, &metadatav1.ListAlbumsRequest{Order: order})
		if err != nil {
			t.Fatal(err)
		}
		got["ListAlbums "+order], got["ListAlbums total"] = len(albums.GetAlbums()) == 1, albums.GetTotal() == 1
	}
	artists, err := c.ListArtists(ctx, &metadatav1.ListArtistsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	got["ListArtists"], got["ListArtists total"] = len(artists.GetArtists()) == 1, artists.GetTotal() == 1
	album, err := c.GetAlbum(ctx, &metadatav1.GetAlbumRequest{Id: track.GetAlbumId()})
	if err != nil && connect.CodeOf(err) != connect.CodeNotFound {
		t.Fatal(err)
	}
	got["GetAlbum"] = len(album.GetTracks()) == 1
	one, err := c.GetArtist(ctx, &metadatav1.GetArtistRequest{Id: track.GetCredits()[0].GetArtist().GetId()})
	if err != nil && connect.CodeOf(err) != connect.CodeNotFound {
		t.Fatal(err)
	}
	got["GetArtist"] = len(one.GetAlbums()) == 1
	for way, seen := range got {
		if seen != got["GetTracks"] {
			t.Errorf("%s says %t, GetTracks %t", way, seen, got["GetTracks"])
		}
	}
	return got["GetTracks"]
}

func TestCatalogue_Visibility(t *testing.T) {
	type availability = metadatav1.Availability
	f := setUp(t)
	track := f.put(t, "one", &tags{Title: "One", Artists: list("Can"), Album: "Tago Mago"})
	markets := []struct {
		markets, excluded []string
		seen              map[string]bool // by market
	}{
		{nil, nil, map[string]bool{"DE": true, "US": true, "": true}},
		{list("DE", "FR"), nil, map[string]bool{"DE": true, "US": false, "": false}},
		{nil, list("US"), map[string]bool{"DE": true, "US": false, "": false}},
		{list("DE", "US"), list("US"), map[string]bool{"DE": true, "US": false, "": false}},
	}
	dates := []struct {
		date string
		seen bool
	}{
		{"", true}, {"2025", true}, {"2026-02-28", true}, {"2026-03-01", true}, // it is 12:00 UTC of that day
		{"2026-03-02", false}, {"2027", false},
	}
	revision := track.GetRevision()
	for _, m := range markets {
		for _, d := range dates {
			for _, explicit := range []bool{false, true} {
				for _, withdrawn := range []bool{false, true} {
					a := &availability{Markets: m.markets, ExcludedMarkets: m.excluded, ReleaseDate: d.date, Explicit: explicit, Withdrawn: withdrawn}
					t.Run(fmt.Sprintf("%v_not_%v_from_%s_explicit=%t_withdrawn=%t", m.markets, m.excluded, d.date, explicit, withdrawn), func(t *testing.T) {
						res, err := f.as(artist()).SetAvailability(t.Context(), &metadatav1.SetAvailabilityRequest{
							TrackId: track.GetId(), Availability: a, Revision: revision,
						})
						if err != nil {
							t.Fatal(err)
						}
						revision = res.GetTrack().GetRevision()
						for market, inMarket := range m.seen {
							for _, allowed := range []bool{false, true} {
								who := listener()
								who.Market, who.ExplicitAllowed = market, allowed
								want := inMarket && d.seen && !withdrawn && (!explicit || allowed)
								if got := f.sees(t, who, track); got != want {
									t.Errorf("a listener in %q, explicit=%t: sees it: %t, want %t", market, allowed, got, want)
								}
							}
						}
						other := artist()
						other.UserID = ident("other")
						if got, want := f.sees(t, other, track), m.seen["DE"] && d.seen && !withdrawn && !explicit; got != want {
							t.Errorf("another artist sees it: %t, want %t", got, want)
						}
						if !f.sees(t, artist(), track) {
							t.Error("the owner does not see it")
						}
						if !f.sees(t, admin(), track) {
							t.Error("the admin does not see it")
						}
					})
				}
			}
		}
	}
}

func TestCatalogue_Release(t *testing.T) {
	f := setUp(t)
	track := f.put(t, "one", &tags{Title: "One", Artists: list("Can"), Album: "X"})
	_, err := f.as(artist()).SetAvailability(t.Context(), &metadatav1.SetAvailabilityRequest{
		TrackId: track.GetId(), Revision: track.GetRevision(), Availability: &metadatav1.Availability{ReleaseDate: "2026-03-03"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.pass(48*time.Hour - time.Second)
	if f.sees(t, listener(), track) {
		t.Error("it is out while the day has not begun in UTC-12")
	}
	f.pass(time.Second)
	if !f.sees(t, listener(), track) {
		t.Error("it is not out when the day has begun everywhere")
	}
}

// TestCatalogue_Parts: what an album and an artist tell of themselves is what is seen.
func TestCatalogue_Parts(t *testing.T) {
	f := setUp(t)
	clean := f.put(t, "clean", &tags{Title: "One", Artists: list("Can"), Album: "X", Number: 1})
	f.put(t, "explicit", &tags{Title: "Two", Artists: list("Can"), Featured: list("Faust"), Album: "X", Number: 2, Explicit: true})
	who := listener()
	who.ExplicitAllowed = false
	album, err := f.as(who).GetAlbum(t.Context(), &metadatav1.GetAlbumRequest{Id: clean.GetAlbumId()})
	if err != nil || len(album.GetTracks()) != 1 || album.GetAlbum().GetTrackCount() != 1 || album.GetAlbum().GetDurationMs() != 180_000 {
		t.Errorf("album: %v, %v", album, err)
	}
	artists, err := f.as(who).ListArtists(t.Context(), &metadatav1.ListArtistsRequest{})
	if err != nil || len(artists.GetArtists()) != 1 || artists.GetTotal() != 1 || artists.GetArtists()[0].GetTrackCount() != 1 {
		t.Errorf("artists: %v, %v", artists, err)
	}
	if got := album.GetTracks()[0].GetOwnerId(); got != "" {
		t.Errorf("a listener learns the owner %s", got)
	}
	all, err := f.as(listener()).ListArtists(t.Context(), &metadatav1.ListArtistsRequest{})
	if err != nil || all.GetTotal() != 2 {
		t.Errorf("artists with explicit ones: %v, %v", all, err)
	}
	for _, a := range all.GetArtists() {
		res, err := f.as(listener()).GetArtist(t.Context(), &metadatav1.GetArtistRequest{Id: a.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		own, others := 1, 0
		if a.GetName() == "Faust" {
			own, others = 0, 1
		}
		if len(res.GetAlbums()) != own || len(res.GetAppearsOn()) != others || int(res.GetArtist().GetAlbumCount()) != own {
			t.Errorf("%s: %d own albums, %d others, count %d", a.GetName(), len(res.GetAlbums()), len(res.GetAppearsOn()), res.GetArtist().GetAlbumCount())
		}
	}
}

func TestCatalogue_SetAvailability(t *testing.T) {
	f := setUp(t)
	file := &tags{Title: "One", Artists: list("Can"), Album: "X", Explicit: true}
	track := f.put(t, "one", file)
	set := func(who identity.Identity, revision uint64, a *metadatav1.Availability) (*metadatav1.Track, error) {
		res, err := f.as(who).SetAvailability(t.Context(), &metadatav1.SetAvailabilityRequest{TrackId: track.GetId(), Revision: revision, Availability: a})
		return res.GetTrack(), err
	}
	hidden := &metadatav1.Availability{Withdrawn: true}
	other := artist()
	other.UserID = ident("other")
	other.ExplicitAllowed = true
	if _, err := set(listener(), track.GetRevision(), hidden); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a listener: %v", err)
	}
	if _, err := set(other, track.GetRevision(), hidden); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("another artist: %v", err)
	}
	if _, err := set(artist(), track.GetRevision()+1, hidden); connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("another revision: %v", err)
	}
	for _, bad := range []*metadatav1.Availability{
		{Markets: list("de")}, {Markets: list("DEU")}, {ReleaseDate: "2026-02-30"}, {ReleaseDate: "soon"}, {ReleaseDate: "2026-02"}, {ExcludedMarkets: list("D'")},
	} {
		if _, err := set(artist(), track.GetRevision(), bad); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%v: %v", bad, err)
		}
	}
	f.events(t)
	changed, err := set(artist(), track.GetRevision(), hidden)
	if err != nil || changed.GetRevision() <= track.GetRevision() {
		t.Fatalf("owner: %v, %v", changed, err)
	}
	if got := types(f.events(t)); got["TrackChanged"] != 1 {
		t.Errorf("events: %v", got)
	}
	again, err := set(artist(), track.GetRevision(), hidden)
	if diff := cmp.Diff(changed, again, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("repeated after a lost answer: %v\n%s", err, diff)
	}
	if e := f.events(t); len(e) != 0 {
		t.Errorf("repeated: events %v", types(e))
	}
	if _, err := set(artist(), track.GetRevision(), &metadatav1.Availability{}); connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("an old revision: %v", err)
	}
	if _, err := set(other, track.GetRevision(), hidden); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("another artist and a hidden track: %v", err)
	}
	// What a person set, tags no longer change.
	open, err := set(admin(), changed.GetRevision(), &metadatav1.Availability{Markets: list("US", "DE", "US")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list("DE", "US"), open.GetAvailability().GetMarkets()); diff != "" {
		t.Errorf("markets (-want +got):\n%s", diff)
	}
	file.Title = "One!"
	if got := f.put(t, "one", file); got.GetAvailability().GetExplicit() || len(got.GetAvailability().GetMarkets()) != 2 {
		t.Errorf("tags changed what a person set: %v", got.GetAvailability())
	}
}

func TestCatalogue_NeedsARole(t *testing.T) {
	f := setUp(t)
	for _, who := range []identity.Identity{{}, {UserID: ident("nobody")}, {UserID: ident("x"), Roles: []authv1.Role{authv1.Role_ROLE_UNSPECIFIED}}} {
		if _, err := f.as(who).ListAlbums(t.Context(), &metadatav1.ListAlbumsRequest{}); err == nil {
			t.Errorf("%v may list albums", who)
		}
	}
}
