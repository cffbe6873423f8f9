package metadata

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// settle makes the album and the artists of a track agree with its new state, and the
// track with them. before is nil for a new track.
func (p *planner) settle(ctx context.Context, t *trackEntry) error {
	r := t.after
	r.Class = classOf(r.GetTrack().GetAvailability(), r.GetTrack().GetState() == metadatav1.TrackState_TRACK_STATE_FAILED)
	if err := p.settleArtists(ctx, t); err != nil {
		return err
	}
	old, now := t.before.GetTrack().GetAlbumId(), r.GetTrack().GetAlbumId()
	if old != "" && old != now {
		if err := p.settleAlbum(ctx, old, r.GetTrack().GetId(), nil); err != nil {
			return err
		}
	}
	if err := p.settleAlbum(ctx, now, r.GetTrack().GetId(), memberOf(r)); err != nil {
		return err
	}
	return p.dress(ctx, r)
}

// settleAlbum puts a member into an album, or takes the track out when m is nil.
func (p *planner) settleAlbum(ctx context.Context, albumID, trackID string, m *metadatav1.AlbumMember) error {
	was, err := p.view.AlbumMember(ctx, albumID, trackID)
	if err != nil {
		return fmt.Errorf("read member of album: %w", err)
	}
	if was == nil && m == nil || was != nil && m != nil && proto.Equal(was, m) {
		return nil
	}
	a, err := p.album(ctx, albumID)
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
	return p.restateAlbum(ctx, a)
}

// memberOf is what a track adds to its album.
func memberOf(r *metadatav1.TrackRecord) *metadatav1.AlbumMember {
	t := r.GetTrack()
	m := &metadatav1.AlbumMember{
		TrackId: t.GetId(), Disc: t.GetDisc(), Number: t.GetNumber(), Title: r.GetAlbumTitle(),
		Date: t.GetDate(), OriginalDate: r.GetOriginalDate(), Genres: t.GetGenres(),
		Label: r.GetLabel(), Upc: r.GetUpc(), Licence: t.GetLicence(),
		Compilation: r.GetCompilation(), DurationMs: t.GetDurationMs(), ClassId: r.GetClass().GetId(), OwnerId: t.GetOwnerId(),
		Artwork: r.GetOwnArtwork(), Measured: r.GetMeasured(),
	}
	for _, c := range r.GetAlbumCredits() {
		m.Credits = append(m.Credits, proto.CloneOf(c))
	}
	if len(t.GetCredits()) > 0 {
		m.Main = &metadatav1.Credit{Artist: &metadatav1.ArtistRef{Id: t.GetCredits()[0].GetArtist().GetId()}, Role: roleMain}
	}
	for _, c := range m.GetCredits() {
		c.Artist.Name = "" // it is the artist's to say
	}
	if r.GetMeasured() {
		m.Energy = energy(t.GetDurationMs(), t.GetGainTrackQ8(), t.GetPeakQ8())
	}
	return m
}

// tally counts a member in (1) or out (-1).
func (a *albumEntry) tally(m *metadatav1.AlbumMember, n int) {
	r, album := a.after, a.after.GetAlbum()
	add := func(v uint64, w uint64) uint64 {
		if n < 0 {
			return v - min(v, w)
		}
		return v + w
	}
	r.Titles = count(r.GetTitles(), m.GetTitle(), n)
	r.Dates = count(r.GetDates(), m.GetDate(), n)
	r.OriginalDates = count(r.GetOriginalDates(), m.GetOriginalDate(), n)
	for _, g := range m.GetGenres() {
		r.Genres = count(r.GetGenres(), g, n)
	}
	r.Labels = count(r.GetLabels(), m.GetLabel(), n)
	r.Upcs = count(r.GetUpcs(), m.GetUpc(), n)
	r.Licences = count(r.GetLicences(), m.GetLicence(), n)
	r.Credits = countCredits(r.GetCredits(), m.GetCredits(), n)
	if len(m.GetCredits()) == 0 && m.GetMain() != nil {
		r.Mains = countCredits(r.GetMains(), []*metadatav1.Credit{m.GetMain()}, n)
	}
	r.Artworks = countArtwork(r.GetArtworks(), m.GetArtwork(), n)
	r.Shares = share(r.GetShares(), m.GetClassId(), m.GetOwnerId(), n, int64(n)*int64(m.GetDurationMs()))
	if m.GetCompilation() {
		r.Compilations = uint32(add(uint64(r.GetCompilations()), 1))
	}
	if m.GetMeasured() {
		r.Measured = uint32(add(uint64(r.GetMeasured()), 1))
	}
	r.Energy = add(r.GetEnergy(), m.GetEnergy())
	album.TrackCount = uint32(add(uint64(album.GetTrackCount()), 1))
	album.DurationMs = add(album.GetDurationMs(), m.GetDurationMs())
}

// restateAlbum works out what the album shows from its tallies.
func (p *planner) restateAlbum(ctx context.Context, a *albumEntry) error {
	r, album := a.after, a.after.GetAlbum()
	if album.GetTrackCount() > 0 { // an empty one keeps what it was called
		album.Title = most(r.GetTitles())
		if r.GetUntitled() {
			album.Title = untitledAlbum
		}
		album.Date, album.OriginalDate = mostDate(r.GetDates()), mostDate(r.GetOriginalDates())
		album.Label, album.Upc, album.Licence = most(r.GetLabels()), most(r.GetUpcs()), most(r.GetLicences())
		album.Genres = common(r.GetGenres(), 8)
		album.Artwork = mostArtwork(r.GetArtworks())
	}
	credits, compilation, err := p.albumCredits(ctx, a)
	if err != nil {
		return err
	}
	if err := p.relink(ctx, a, credits); err != nil {
		return err
	}
	album.Compilation = compilation
	album.Type = albumType(r)
	r.GainQ8 = albumGain(r)
	title, artist := sortKey(album.GetTitle()), ""
	if len(credits) > 0 {
		artist = sortKey(credits[0].GetArtist().GetName())
	}
	r.SortTitle = title + "\x00" + artist
	r.SortArtist = artist + "\x00" + album.GetDate() + "\x00" + title
	return nil
}

// albumCredits are the album artists that most files name. Where none does, it is the
// first artist of more than half of the tracks, else Various Artists.
func (p *planner) albumCredits(ctx context.Context, a *albumEntry) (credits []*metadatav1.Credit, compilation bool, err error) {
	r := a.after
	tracks := r.GetAlbum().GetTrackCount()
	if tracks == 0 {
		return nil, r.GetAlbum().GetCompilation(), nil
	}
	best := mostCredits(r.GetCredits())
	if best == nil {
		if best = mostCredits(r.GetMains()); len(r.GetMains()) > 1 && 2*best.GetCount() <= tracks {
			best = nil
		}
	}
	if best == nil {
		v, _, err := p.credit(ctx, []named{various()})
		return v, !r.GetUntitled(), err
	}
	compilation = 2*r.GetCompilations() > tracks
	for _, c := range best.GetCredits() {
		artist, err := p.artist(ctx, c.GetArtist().GetId())
		if err != nil {
			return nil, false, err
		}
		c = proto.CloneOf(c)
		c.Artist.Name = artist.after.GetArtist().GetName()
		compilation = compilation || artist.after.GetArtist().GetMusicbrainzId() == variousMBID
		credits = append(credits, c)
	}
	return credits, compilation, nil
}

// relink links the album to the artists it is credited to, and to no other.
func (p *planner) relink(ctx context.Context, a *albumEntry, credits []*metadatav1.Credit) error {
	album := a.after.GetAlbum()
	ids := func(list []*metadatav1.Credit) (out []string) {
		for _, c := range list {
			out = append(out, c.GetArtist().GetId())
		}
		return out
	}
	was, now := ids(album.GetCredits()), ids(credits)
	album.Credits = credits
	for _, id := range was {
		if !slices.Contains(now, id) {
			if err := p.link(ctx, id, album.GetId(), false); err != nil {
				return err
			}
		}
	}
	for _, id := range now {
		if !slices.Contains(was, id) {
			if err := p.link(ctx, id, album.GetId(), true); err != nil {
				return err
			}
		}
	}
	return nil
}

// albumType goes by the customs of the shops: a single has at most 3 tracks and an EP at
// most 6, both under 30 minutes.
func albumType(r *metadatav1.AlbumRecord) string {
	a := r.GetAlbum()
	short := a.GetDurationMs() < uint64((30 * time.Minute).Milliseconds())
	switch {
	case r.GetUntitled():
		return ""
	case a.GetCompilation():
		return "compilation"
	case short && a.GetTrackCount() <= 3:
		return "single"
	case short && a.GetTrackCount() <= 6:
		return "ep"
	}
	return "album"
}
