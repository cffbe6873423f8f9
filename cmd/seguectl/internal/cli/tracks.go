package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

type tracksCmd struct {
	Owned bool `help:"Only what you uploaded, in every state."`
	JSON  bool `name:"json" help:"Print an array of {id,title,artists,album,duration_ms,state}."`
}

// trackJSON is a track as scripts read it.
type trackJSON struct {
	ID         string   `json:"id"`
	Title      string   `json:"title"`
	Artists    []string `json:"artists"`
	Album      string   `json:"album"`
	DurationMs uint64   `json:"duration_ms"`
	State      string   `json:"state"`
}

// pageSize is how many are asked for at a time.
const pageSize = 500

func (c *tracksCmd) Run(ctx context.Context, r *run) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	tracks := []trackJSON{} // an empty array, not null
	for token := ""; ; {
		res, err := a.Catalogue().ListTracks(ctx, &metadatav1.ListTracksRequest{PageSize: pageSize, PageToken: token, Owned: c.Owned})
		if err != nil {
			return fmt.Errorf("list tracks: %w", err)
		}
		for _, t := range res.GetTracks() {
			tracks = append(tracks, trackOf(t))
		}
		next := res.GetNextPageToken()
		if next == "" || next == token {
			break
		}
		token = next
	}
	if c.JSON {
		return show.JSON(r.Out, tracks)
	}
	var rows [][]string
	for _, t := range tracks {
		rows = append(rows, []string{t.ID, show.Duration(t.DurationMs), t.State, strings.Join(t.Artists, ", "), t.Album, t.Title})
	}
	return show.Table(r.Out, []string{"ID", "LENGTH", "STATE", "ARTISTS", "ALBUM", "TITLE"}, rows)
}

func trackOf(t *metadatav1.Track) trackJSON {
	return trackJSON{
		ID: t.GetId(), Title: t.GetTitle(), Artists: artistsOf(t), Album: t.GetAlbumTitle(), DurationMs: t.GetDurationMs(),
		State: strings.ToLower(strings.TrimPrefix(t.GetState().String(), "TRACK_STATE_")),
	}
}

// artistsOf are the names that stand on the sleeve; those of composers and producers only
// where there is no other.
func artistsOf(t *metadatav1.Track) []string {
	sleeve, all := []string{}, []string{}
	for _, c := range t.GetCredits() {
		name := c.GetArtist().GetName()
		all = append(all, name)
		switch c.GetRole() {
		case "", "main", "featured":
			sleeve = append(sleeve, name)
		}
	}
	if len(sleeve) == 0 {
		return all
	}
	return sleeve
}
