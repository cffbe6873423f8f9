package metadata

import (
	"context"
	"slices"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// credit finds or makes the artists of names. One artist is credited once, in its first
// role.
func (p *planner) credit(ctx context.Context, names []named) ([]*metadatav1.Credit, []string, error) {
	var credits []*metadatav1.Credit
	var spellings []string
	for _, n := range names {
		a, err := p.matchArtist(ctx, n)
		if err != nil {
			return nil, nil, err
		}
		id := a.after.GetArtist().GetId()
		if slices.ContainsFunc(credits, func(c *metadatav1.Credit) bool { return c.GetArtist().GetId() == id }) {
			continue
		}
		credits = append(credits, &metadatav1.Credit{
			Artist: &metadatav1.ArtistRef{Id: id, Name: a.after.GetArtist().GetName()}, Role: n.role, Join: n.join,
		})
		spellings = append(spellings, n.name)
	}
	if len(credits) > 0 {
		credits[len(credits)-1].Join = ""
	}
	return credits, spellings, nil
}

// matchArtist finds the artist of a name, or makes it. A name that is known without a
// MusicBrainz id takes the first id that comes with it; a second id is another artist of
// the same name. The name alone means the first of them.
func (p *planner) matchArtist(ctx context.Context, n named) (*artistEntry, error) {
	byName := key("artist", "name", fold(n.name))
	keys := []string{byName}
	byID := ""
	if n.mbid != "" {
		byID = key("artist", "musicbrainz", n.mbid)
		keys = append(keys, byID)
	}
	found, err := p.keys(ctx, keys)
	if err != nil {
		return nil, err
	}
	id := found[byName]
	if byID != "" {
		switch {
		case found[byID] != "":
			id = found[byID]
		case id != "":
			a, err := p.artist(ctx, id)
			if err != nil {
				return nil, err
			}
			if has := a.after.GetArtist().GetMusicbrainzId(); has != "" && has != n.mbid {
				id = ""
			}
		}
	}
	if id == "" {
		id = p.newID()
	}
	for _, k := range keys {
		if found[k] == "" {
			p.claim(k, id)
		}
	}
	a, err := p.artist(ctx, id)
	if err != nil {
		return nil, err
	}
	if art := a.after.GetArtist(); n.mbid != "" && art.GetMusicbrainzId() == "" {
		art.MusicbrainzId = n.mbid
	}
	if a.after.GetArtist().GetName() == "" {
		a.rename(n.name)
	}
	return a, nil
}
