package metadata

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// settleArtists counts the track in at the artists that its file names, for the track
// and for the album, and out at those it named before.
func (p *planner) settleArtists(ctx context.Context, t *trackEntry) error {
	now := membersOf(t.after)
	ids := make([]string, 0, len(now))
	for id := range now {
		ids = append(ids, id)
	}
	for id := range membersOf(t.before) {
		if now[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		if err := p.settleArtist(ctx, id, t.after.GetTrack().GetId(), now[id]); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) settleArtist(ctx context.Context, artistID, trackID string, m *metadatav1.ArtistMember) error {
	was, err := p.view.ArtistMember(ctx, artistID, trackID)
	if err != nil {
		return fmt.Errorf("read member of artist: %w", err)
	}
	if was == nil && m == nil || was != nil && m != nil && proto.Equal(was, m) {
		return nil
	}
	a, err := p.artist(ctx, artistID)
	if err != nil {
		return err
	}
	if was != nil {
		a.tally(was, -1)
	}
	if m == nil {
		a.drop = append(a.drop, trackID)
	} else {
		a.tally(m, 1)
		a.put = append(a.put, m)
	}
	if name := most(a.after.GetNames()); name != "" {
		a.rename(name)
	}
	return nil
}

// membersOf is what a track adds to each artist its file names.
func membersOf(r *metadatav1.TrackRecord) map[string]*metadatav1.ArtistMember {
	out := map[string]*metadatav1.ArtistMember{}
	add := func(c *metadatav1.Credit, name string) {
		id := c.GetArtist().GetId()
		if out[id] == nil {
			out[id] = &metadatav1.ArtistMember{
				TrackId: r.GetTrack().GetId(), AlbumId: r.GetTrack().GetAlbumId(), Name: name,
				ClassId: r.GetClass().GetId(), OwnerId: r.GetTrack().GetOwnerId(),
			}
		}
	}
	for i, c := range r.GetTrack().GetCredits() {
		if i < len(r.GetNames()) {
			add(c, r.GetNames()[i])
		}
	}
	for _, c := range r.GetAlbumCredits() {
		add(c, c.GetArtist().GetName())
	}
	return out
}

func (a *artistEntry) tally(m *metadatav1.ArtistMember, n int) {
	r := a.after
	r.Names = count(r.GetNames(), m.GetName(), n)
	r.Shares = share(r.GetShares(), m.GetClassId(), m.GetOwnerId(), n, 0)
	art := r.GetArtist()
	if n > 0 {
		art.TrackCount++
	} else if art.GetTrackCount() > 0 {
		art.TrackCount--
	}
}

func (a *artistEntry) rename(name string) {
	a.after.Artist.Name = name
	a.after.Artist.SortName = sortName(name)
	a.after.SortName = sortKey(name)
}

// link notes that an album is, or is no longer, credited to an artist.
func (p *planner) link(ctx context.Context, artistID, albumID string, on bool) error {
	a, err := p.artist(ctx, artistID)
	if err != nil {
		return err
	}
	stored, err := p.view.OnAlbum(ctx, artistID, albumID)
	if err != nil {
		return fmt.Errorf("read albums of artist: %w", err)
	}
	is := slices.Contains(a.link, albumID) || stored && !slices.Contains(a.unlink, albumID)
	if is == on {
		return nil
	}
	art := a.after.GetArtist()
	drop := func(list []string) []string {
		return slices.DeleteFunc(list, func(s string) bool { return s == albumID })
	}
	if on {
		art.AlbumCount++
		a.unlink = drop(a.unlink)
		if !stored {
			a.link = append(a.link, albumID)
		}
		return nil
	}
	art.AlbumCount -= min(art.GetAlbumCount(), 1)
	a.link = drop(a.link)
	if stored {
		a.unlink = append(a.unlink, albumID)
	}
	return nil
}

// dress writes into a track what it repeats of its artists and its album.
func (p *planner) dress(ctx context.Context, r *metadatav1.TrackRecord) error {
	t := r.GetTrack()
	for _, c := range t.GetCredits() {
		a, err := p.artist(ctx, c.GetArtist().GetId())
		if err != nil {
			return err
		}
		c.Artist.Name = a.after.GetArtist().GetName()
	}
	a, err := p.album(ctx, t.GetAlbumId())
	if err != nil {
		return err
	}
	dressAs(r, a.after)
	return nil
}

// dressAs writes into a track what it repeats of its album.
func dressAs(r *metadatav1.TrackRecord, a *metadatav1.AlbumRecord) {
	t := r.GetTrack()
	t.AlbumTitle = a.GetAlbum().GetTitle()
	t.GainAlbumQ8 = a.GetGainQ8()
	t.Artwork = r.GetOwnArtwork()
	if t.GetArtwork() == nil {
		t.Artwork = a.GetAlbum().GetArtwork()
	}
}
