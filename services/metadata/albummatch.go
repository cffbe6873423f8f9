package metadata

import (
	"context"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// albumQuestion is what a file tells about its album.
type albumQuestion struct {
	owner, trackID string
	title          string // as the file spells it, without a disc suffix; empty: it names none
	folder         string // hash of its folder, may be empty
	mbid           string
	named          []*metadatav1.Credit // its album artists; none where it names none
	various        bool                 // they are Various Artists
	main           *metadatav1.Credit   // its first artist
	disc, number   uint32
}

// albumKeys are the claims of an album in the order in which they are asked.
type albumKeys struct {
	mb     string // MusicBrainz album
	exact  string // album artists (or the first artist) and title
	inner  string // folder, title and first artist
	folder string // folder and title
}

// albumTry is a claim to look at, and the condition on the album that has it.
type albumTry struct {
	key string
	ok  func(context.Context, *albumQuestion, *albumEntry) (bool, error)
}

func (q *albumQuestion) keys() albumKeys {
	var k albumKeys
	if q.mbid != "" {
		k.mb = key("album", "musicbrainz", q.owner, q.mbid)
	}
	if q.title == "" {
		// "Unknown album" is one per folder; without a folder one per artist.
		scope, what := "untitled folder", q.folder
		if what == "" {
			scope, what = "untitled artist", q.main.GetArtist().GetId()
		}
		k.inner = key("album", scope, q.owner, what)
		return k
	}
	title := fold(q.title)
	artists := creditKey(q.named)
	if artists == "" {
		artists = q.main.GetArtist().GetId()
		k.inner = key("album", "inner", q.owner, q.folder, title, artists)
	}
	k.exact = key("album", "title", q.owner, title, artists)
	if q.folder != "" {
		k.folder = key("album", "folder", q.owner, q.folder, title)
	}
	return k
}

// matchAlbum finds the album of a file, or makes it.
//
//   - The MusicBrainz album id decides; an album known without one takes the first.
//   - A file with album artists (or the compilation flag, which means Various Artists)
//     belongs to the album of those artists and that title. Before a new one is made, an
//     album of the same folder and title is taken when none of its files names album
//     artists and one of its artists is theirs: half of the folder is tagged.
//   - A file without belongs to the album of its folder and title, unless another
//     artist's track has its disc and number: then the folder holds equally named albums
//     of several artists, not a compilation. Next comes the album of that title by the
//     file's first artist alone (the discs of a set lie in folders of their own), unless
//     its place there is taken, which says that it is another album.
func (p *planner) matchAlbum(ctx context.Context, q *albumQuestion) (*albumEntry, error) {
	k := q.keys()
	found, err := p.keys(ctx, nonEmpty(k.mb, k.exact, k.inner, k.folder))
	if err != nil {
		return nil, err
	}
	tries := []albumTry{{k.mb, nil}, {k.inner, nil}, {k.folder, p.fitsFolder}, {k.exact, p.fitsExact}}
	if len(q.named) > 0 {
		tries = []albumTry{{k.mb, nil}, {k.exact, nil}, {k.folder, p.fitsFolder}}
	}
	var a *albumEntry
	for _, try := range tries {
		id := found[try.key]
		if try.key == "" || id == "" {
			continue
		}
		candidate, err := p.album(ctx, id)
		if err != nil {
			return nil, err
		}
		if has := candidate.after.GetAlbum().GetMusicbrainzId(); try.key != k.mb && q.mbid != "" && has != "" && has != q.mbid {
			continue
		}
		ok := true
		if try.ok != nil {
			if ok, err = try.ok(ctx, q, candidate); err != nil {
				return nil, err
			}
		}
		if ok {
			a = candidate
			break
		}
	}
	if a == nil {
		if a, err = p.album(ctx, p.newID()); err != nil {
			return nil, err
		}
	}
	if a.before == nil {
		a.after.OwnerId = q.owner
		a.after.Untitled = q.title == ""
	}
	album := a.after.GetAlbum()
	for _, one := range nonEmpty(k.mb, k.exact, k.inner, k.folder) {
		if found[one] == "" {
			p.claim(one, album.GetId())
		}
	}
	if album.GetMusicbrainzId() == "" {
		album.MusicbrainzId = q.mbid
	}
	return a, nil
}

// fitsExact: the file's first artist is the album's only one, and its place is free.
func (p *planner) fitsExact(ctx context.Context, q *albumQuestion, a *albumEntry) (bool, error) {
	if a.after.GetAlbum().GetTrackCount() == 0 {
		return true, nil
	}
	if creditKey(a.after.GetAlbum().GetCredits()) != q.main.GetArtist().GetId() {
		return false, nil
	}
	if q.folder == "" {
		return true, nil
	}
	taken, err := p.taken(ctx, q, a, func(*metadatav1.AlbumMember) bool { return true })
	return !taken, err
}

func (p *planner) fitsFolder(ctx context.Context, q *albumQuestion, a *albumEntry) (bool, error) {
	main := q.main.GetArtist().GetId()
	if len(q.named) > 0 {
		want := creditKey(q.named)
		if most := mostCredits(a.after.GetCredits()); most != nil {
			return creditKey(most.GetCredits()) == want, nil
		}
		if q.various {
			return true, nil
		}
		for _, t := range a.after.GetMains() {
			if creditKey(t.GetCredits()) == want {
				return true, nil
			}
		}
		return a.after.GetAlbum().GetTrackCount() == 0, nil
	}
	taken, err := p.taken(ctx, q, a, func(m *metadatav1.AlbumMember) bool { return m.GetMain().GetArtist().GetId() != main })
	return !taken, err
}

// taken tells whether another track has the place of this one.
func (p *planner) taken(ctx context.Context, q *albumQuestion, a *albumEntry, by func(*metadatav1.AlbumMember) bool) (bool, error) {
	if q.number == 0 {
		return false, nil
	}
	for _, m := range a.put { // by earlier files of the same plan
		if m.GetTrackId() != q.trackID && m.GetDisc() == q.disc && m.GetNumber() == q.number && by(m) {
			return true, nil
		}
	}
	if a.before == nil {
		return false, nil
	}
	at, err := p.view.AlbumSlot(ctx, a.after.GetAlbum().GetId(), q.disc, q.number)
	if err != nil {
		return false, err
	}
	for _, m := range at {
		if m.GetTrackId() != q.trackID && by(m) {
			return true, nil
		}
	}
	return false, nil
}

func nonEmpty(list ...string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
