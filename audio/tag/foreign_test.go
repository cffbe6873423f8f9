package tag_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/audio/tag"
)

func TestFromFields(t *testing.T) {
	got := tag.FromFields(map[string]string{
		"title": "A\x00\u202eB", "artist": "One; Two", "album_artist": "One", "track": "3/12", "date": "1999-02-03", "junk\xff": "x",
	})
	want := &tag.Tags{
		Title: "AB", Artists: []string{"One", "Two"}, ArtistCredit: "One, Two", AlbumArtists: []string{"One"},
		Track: 3, TrackTotal: 12, Date: "1999-02-03",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestClean(t *testing.T) {
	if got := tag.Clean("a\n\x00b\xff"+string(make([]byte, 99)), 3); got != "a b" {
		t.Errorf("%q", got)
	}
}
