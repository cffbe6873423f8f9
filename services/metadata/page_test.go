package metadata_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

func (f *fixture) albumPage(t *testing.T, order, token string, size uint32) ([]string, string) {
	t.Helper()
	res, err := f.as(listener()).ListAlbums(t.Context(), &metadatav1.ListAlbumsRequest{Order: order, PageSize: size, PageToken: token})
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, a := range res.GetAlbums() {
		titles = append(titles, a.GetTitle())
	}
	return titles, res.GetNextPageToken()
}

func (f *fixture) pages(t *testing.T, order string, size uint32, between func()) []string {
	t.Helper()
	all, next := f.albumPage(t, order, "", size)
	for next != "" {
		between()
		var more []string
		more, next = f.albumPage(t, order, next, size)
		all = append(all, more...)
	}
	return all
}

func TestCatalogue_Orders(t *testing.T) {
	f := setUp(t)
	for _, file := range []*tags{
		{Title: "1", Artists: list("The Beatles"), Album: "Revolver", Date: "1966-08-05"},
		{Title: "2", Artists: list("ABBA"), Album: "The Visitors", Date: "1981"},
		{Title: "3", Artists: list("Björk"), Album: "Début", Date: "1993"},
		{Title: "4", Artists: list("ABBA"), Album: "arrival", Date: "1976"},
	} {
		f.put(t, file.GetTitle(), file)
		f.pass(time.Second)
	}
	for order, want := range map[string][]string{
		"":       list("arrival", "Début", "The Visitors", "Revolver"),
		"added":  list("arrival", "Début", "The Visitors", "Revolver"),
		"title":  list("arrival", "Début", "Revolver", "The Visitors"),
		"artist": list("arrival", "The Visitors", "Revolver", "Début"),
		"date":   list("Début", "The Visitors", "arrival", "Revolver"),
	} {
		for size := uint32(1); size < 6; size++ {
			if diff := cmp.Diff(want, f.pages(t, order, size, func() {})); diff != "" {
				t.Errorf("by %q in pages of %d (-want +got):\n%s", order, size, diff)
			}
		}
	}
	res, err := f.as(listener()).ListArtists(t.Context(), &metadatav1.ListArtistsRequest{PageSize: 2})
	if err != nil || res.GetTotal() != 3 || res.GetNextPageToken() == "" || res.GetArtists()[1].GetSortName() != "Beatles, The" {
		t.Errorf("artists: %v, %v", res, err)
	}
}

// TestCatalogue_PagesUnderChange: what was there from the first page to the last comes
// exactly once, whatever is added, hidden and retitled between.
func TestCatalogue_PagesUnderChange(t *testing.T) {
	for _, order := range list("added", "title", "artist", "date") {
		t.Run(order, func(t *testing.T) {
			f := setUp(t)
			var stay []string
			for i := range 30 {
				title := fmt.Sprintf("Album %02d", i)
				f.put(t, title, &tags{Title: "x", Artists: list(fmt.Sprint("Artist ", i)), Album: title, Date: fmt.Sprint(1990 + i)})
				f.pass(time.Second)
				if i%3 != 0 {
					stay = append(stay, title)
				}
			}
			n := 0
			got := f.pages(t, order, 4, func() {
				f.put(t, fmt.Sprint("new ", n), &tags{Title: "x", Artists: list("New"), Album: fmt.Sprintf("Album %02d½", n*5), Date: "2000"})
				victim := fmt.Sprintf("Album %02d", n*3)
				f.put(t, victim, &tags{Title: "x", Artists: list("Artist"), Album: "A moved", Date: "1980"})
				n++
			})
			for _, title := range stay {
				if c := strings.Count(strings.Join(got, "\n")+"\n", title+"\n"); c != 1 {
					t.Errorf("%s came %d times", title, c)
				}
			}
		})
	}
}

func TestCatalogue_PageTokens(t *testing.T) {
	f := setUp(t)
	for i := range 3 {
		f.put(t, fmt.Sprint(i), &tags{Title: "x", Artists: list("A"), Album: fmt.Sprint("Album ", i)})
	}
	_, good := f.albumPage(t, "title", "", 1)
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	bad := list("x", "!", good+"A", good[:len(good)-2], strings.Repeat("A", 512), good+"=", strings.ToLower(good))
	for i := range raw {
		b := slices.Clone(raw)
		b[i] ^= 1
		bad = append(bad, base64.RawURLEncoding.EncodeToString(b))
	}
	for _, token := range bad {
		_, err := f.as(listener()).ListAlbums(t.Context(), &metadatav1.ListAlbumsRequest{Order: "title", PageSize: 1, PageToken: token})
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("token %q: %v", token, err)
		}
	}
	ctx, c := t.Context(), f.as(listener())
	for name, call := range map[string]func() error{
		"albums in another order": func() error {
			_, err := c.ListAlbums(ctx, &metadatav1.ListAlbumsRequest{Order: "added", PageToken: good})
			return err
		},
		"artists": func() error {
			_, err := c.ListArtists(ctx, &metadatav1.ListArtistsRequest{PageToken: good})
			return err
		},
		"tracks": func() error {
			_, err := c.ListTracks(ctx, &metadatav1.ListTracksRequest{Order: "title", PageToken: good})
			return err
		},
	} {
		if err := call(); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("token of albums by title for %s: %v", name, err)
		}
	}
}

func TestCatalogue_ListTracks(t *testing.T) {
	f := setUp(t)
	for i := range 5 {
		f.put(t, fmt.Sprint(i), &tags{Title: fmt.Sprint("The ", 5-i), Artists: list("A"), Album: "X", Number: uint32(i + 1)})
		f.pass(time.Second)
	}
	f.putFile(t, &metadatav1.PutTrackRequest{TrackId: ident("other"), OwnerId: ident("label"), Tags: &tags{Title: "Other", Explicit: true}})
	read := func(who *metadatav1.ListTracksRequest) (titles []string, total uint64) {
		for {
			res, err := f.as(artist()).ListTracks(t.Context(), who)
			if err != nil {
				t.Fatal(err)
			}
			for _, tr := range res.GetTracks() {
				titles = append(titles, tr.GetTitle())
			}
			if who.PageToken = res.GetNextPageToken(); who.GetPageToken() == "" {
				return titles, res.GetTotal()
			}
		}
	}
	if got, total := read(&metadatav1.ListTracksRequest{Owned: true, PageSize: 2}); total != 5 || strings.Join(got, " ") != "The 1 The 2 The 3 The 4 The 5" {
		t.Errorf("owned: %v of %d", got, total)
	}
	if got, total := read(&metadatav1.ListTracksRequest{Order: "title", PageSize: 2}); total != 5 || strings.Join(got, " ") != "The 1 The 2 The 3 The 4 The 5" {
		t.Errorf("by title: %v of %d", got, total)
	}
	res, err := f.as(admin()).ListTracks(t.Context(), &metadatav1.ListTracksRequest{PageSize: 1})
	if err != nil || res.GetTotal() != 6 || res.GetTracks()[0].GetTitle() != "Other" {
		t.Errorf("admin: %v, %v", res, err)
	}
	album, err := f.as(artist()).GetAlbum(t.Context(), &metadatav1.GetAlbumRequest{Id: f.put(t, "0", &tags{Title: "The 5", Artists: list("A"), Album: "X", Number: 9}).GetAlbumId()})
	if err != nil {
		t.Fatal(err)
	}
	var numbers []uint32
	for _, tr := range album.GetTracks() {
		numbers = append(numbers, tr.GetNumber())
	}
	if diff := cmp.Diff([]uint32{2, 3, 4, 5, 9}, numbers); diff != "" {
		t.Errorf("an album's order (-want +got):\n%s", diff)
	}
}
