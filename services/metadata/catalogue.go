package metadata

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/services/metadata/filter"
)

const (
	defaultPage = 50
	// artistAlbums bounds each list of one artist's albums.
	artistAlbums = 500
)

// catalogue is CatalogueService.
type catalogue struct{ *Service }

// viewer is who calls and what they see.
func (s *Service) viewer(ctx context.Context) (Viewer, error) {
	who := identity.From(ctx)
	if who.IsAdmin() {
		return Viewer{All: true, UserID: who.UserID}, nil
	}
	classes, err := s.store.Classes(ctx)
	if err != nil {
		return Viewer{}, fmt.Errorf("read classes: %w", err)
	}
	v, now := Viewer{UserID: who.UserID}, s.now()
	for _, c := range classes {
		if seen(c, who.Market, who.ExplicitAllowed, now) {
			v.Classes = append(v.Classes, c.GetId())
		}
	}
	return v, nil
}

func (v Viewer) sees(class int64, owner string) bool {
	return v.All || owner != "" && owner == v.UserID || slices.Contains(v.Classes, class)
}

// track is what the viewer gets of a track; nil when it is hidden. Whose it is, is for
// the owner and admins.
func (v Viewer) track(r *metadatav1.TrackRecord) *metadatav1.Track {
	t := r.GetTrack()
	if !v.sees(r.GetClass().GetId(), t.GetOwnerId()) {
		return nil
	}
	if !v.All && t.GetOwnerId() != v.UserID {
		t.OwnerId = ""
	}
	return t
}

// shares are the tracks and milliseconds that the viewer sees of an entity.
func (v Viewer) shares(list []*metadatav1.Share) (tracks uint32, ms uint64) {
	for _, s := range list {
		if v.sees(s.GetClassId(), s.GetOwnerId()) {
			tracks += s.GetTracks()
			ms += s.GetDurationMs()
		}
	}
	return tracks, ms
}

func (v Viewer) albums(list []*metadatav1.AlbumRecord) []*metadatav1.Album {
	var out []*metadatav1.Album
	for _, r := range list {
		a := r.GetAlbum()
		a.TrackCount, a.DurationMs = v.shares(r.GetShares())
		out = append(out, a)
	}
	return out
}

func (s catalogue) ListAlbums(ctx context.Context, req *metadatav1.ListAlbumsRequest) (*metadatav1.ListAlbumsResponse, error) {
	v, err := s.viewer(ctx)
	if err != nil {
		return nil, fmt.Errorf("list albums: %w", err)
	}
	list := "albums " + string(order(req.GetOrder()))
	after, err := parseToken(list, req.GetPageToken())
	if err != nil {
		return nil, fmt.Errorf("list albums: %w", err)
	}
	page, err := s.store.ListAlbums(ctx, AlbumQuery{Viewer: v, Order: order(req.GetOrder()), After: after, Limit: pageSize(req.GetPageSize())})
	if err != nil {
		return nil, fmt.Errorf("list albums: %w", err)
	}
	return &metadatav1.ListAlbumsResponse{Albums: v.albums(page.Items), NextPageToken: token(list, page.Next), Total: page.Total}, nil
}

func (s catalogue) GetAlbum(ctx context.Context, req *metadatav1.GetAlbumRequest) (*metadatav1.GetAlbumResponse, error) {
	var v Viewer
	var record *metadatav1.AlbumRecord
	var records []*metadatav1.TrackRecord
	err := together(ctx,
		func(ctx context.Context) (err error) { v, err = s.viewer(ctx); return err },
		func(ctx context.Context) (err error) { record, err = s.store.Album(ctx, req.GetId()); return err },
		func(ctx context.Context) (err error) {
			records, err = s.store.AlbumTracks(ctx, req.GetId())
			return err
		},
	)
	if err != nil {
		return nil, fmt.Errorf("get album: %w", err)
	}
	out := &metadatav1.GetAlbumResponse{Album: v.albums([]*metadatav1.AlbumRecord{record})[0]}
	for _, r := range records {
		dressAs(r, record) // ahead of Spread
		if t := v.track(r); t != nil {
			out.Tracks = append(out.Tracks, t)
		}
	}
	if len(out.GetTracks()) == 0 {
		return nil, fmt.Errorf("get album: %w", ErrNotFound)
	}
	return out, nil
}

func (s catalogue) ListArtists(ctx context.Context, req *metadatav1.ListArtistsRequest) (*metadatav1.ListArtistsResponse, error) {
	v, err := s.viewer(ctx)
	if err != nil {
		return nil, fmt.Errorf("list artists: %w", err)
	}
	after, err := parseToken("artists", req.GetPageToken())
	if err != nil {
		return nil, fmt.Errorf("list artists: %w", err)
	}
	page, err := s.store.ListArtists(ctx, ArtistQuery{Viewer: v, After: after, Limit: pageSize(req.GetPageSize())})
	if err != nil {
		return nil, fmt.Errorf("list artists: %w", err)
	}
	out := &metadatav1.ListArtistsResponse{NextPageToken: token("artists", page.Next), Total: page.Total}
	ids := make([]string, 0, len(page.Items))
	for _, r := range page.Items {
		ids = append(ids, r.GetArtist().GetId())
	}
	albums, err := s.store.CountArtistAlbums(ctx, ids, v)
	if err != nil {
		return nil, fmt.Errorf("list artists: %w", err)
	}
	for _, r := range page.Items {
		a := r.GetArtist()
		a.TrackCount, _ = v.shares(r.GetShares())
		a.AlbumCount = albums[a.GetId()]
		out.Artists = append(out.Artists, a)
	}
	return out, nil
}

func (s catalogue) GetArtist(ctx context.Context, req *metadatav1.GetArtistRequest) (*metadatav1.GetArtistResponse, error) {
	var v Viewer
	var r *metadatav1.ArtistRecord
	err := together(ctx,
		func(ctx context.Context) (err error) { v, err = s.viewer(ctx); return err },
		func(ctx context.Context) (err error) { r, err = s.store.Artist(ctx, req.GetId()); return err },
	)
	if err != nil {
		return nil, fmt.Errorf("get artist: %w", err)
	}
	own, others, err := s.store.ArtistAlbums(ctx, req.GetId(), v, artistAlbums)
	if err != nil {
		return nil, fmt.Errorf("get artist: %w", err)
	}
	a := r.GetArtist()
	a.TrackCount, _ = v.shares(r.GetShares())
	if a.GetTrackCount() == 0 && len(own) == 0 {
		return nil, fmt.Errorf("get artist: %w", ErrNotFound)
	}
	if a.AlbumCount = uint32(len(own)); len(own) == artistAlbums { // there may be more
		albums, err := s.store.CountArtistAlbums(ctx, []string{req.GetId()}, v)
		if err != nil {
			return nil, fmt.Errorf("get artist: %w", err)
		}
		a.AlbumCount = albums[a.GetId()]
	}
	return &metadatav1.GetArtistResponse{Artist: a, Albums: v.albums(own), AppearsOn: v.albums(others)}, nil
}

func (s catalogue) ListTracks(ctx context.Context, req *metadatav1.ListTracksRequest) (*metadatav1.ListTracksResponse, error) {
	v, err := s.viewer(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tracks: %w", err)
	}
	q := TrackQuery{Viewer: v, Order: order(req.GetOrder()), Limit: pageSize(req.GetPageSize())}
	list := "tracks " + string(q.Order)
	if req.GetOwned() {
		q.OwnerID = v.UserID
		list += " owned"
	}
	if q.After, err = parseToken(list, req.GetPageToken()); err != nil {
		return nil, fmt.Errorf("list tracks: %w", err)
	}
	terms, err := filter.Parse(req.GetFilter())
	if err != nil {
		return nil, fmt.Errorf("list tracks: %w", err)
	}
	if len(terms) > 0 {
		return s.filtered(ctx, q, list, terms)
	}
	page, err := s.store.ListTracks(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("list tracks: %w", err)
	}
	out := &metadatav1.ListTracksResponse{NextPageToken: token(list, page.Next), Total: page.Total}
	for _, r := range page.Items {
		if t := v.track(r); t != nil {
			out.Tracks = append(out.Tracks, t)
		}
	}
	return out, nil
}

// maxScanned is about how many tracks one page of a filtered list looks at, at most.
const maxScanned = 5000

// filtered looks through tracks for those of a filter, until a page is full or maxScanned were
// looked at. It tells as many as a total as it found.
func (s catalogue) filtered(ctx context.Context, q TrackQuery, list string, terms filter.Terms) (*metadatav1.ListTracksResponse, error) {
	const step = 500
	size := q.Limit
	out := &metadatav1.ListTracksResponse{}
	for scanned := 0; scanned < maxScanned && len(out.Tracks) < size; {
		q.Limit = step
		page, err := s.store.ListTracks(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("list tracks: %w", err)
		}
		found, cut := among(terms, q.Viewer, page.Items, size-len(out.Tracks))
		if cut < len(page.Items) {
			// The page is full in the midst of what was read: where that is, the store knows.
			q.Limit = cut
			if page, err = s.store.ListTracks(ctx, q); err != nil {
				return nil, fmt.Errorf("list tracks: %w", err)
			}
			found, _ = among(terms, q.Viewer, page.Items, len(page.Items))
		}
		scanned += len(page.Items)
		out.Tracks = append(out.Tracks, found...)
		out.NextPageToken, q.After = token(list, page.Next), page.Next
		if page.Next == nil {
			break
		}
	}
	out.Total = uint64(len(out.Tracks))
	return out, nil
}

// among are the first records that the viewer sees and that pass, at most so many, and how
// many records were looked at for it.
func among(terms filter.Terms, v Viewer, records []*metadatav1.TrackRecord, most int) (found []*metadatav1.Track, looked int) {
	for i, r := range records {
		if t := v.track(r); t != nil && terms.Let(t.GetFeatures()) {
			if found = append(found, t); len(found) == most {
				return found, i + 1
			}
		}
	}
	return found, len(records)
}

func (s catalogue) GetTracks(ctx context.Context, req *metadatav1.GetTracksRequest) (*metadatav1.GetTracksResponse, error) {
	var v Viewer
	var records []*metadatav1.TrackRecord
	err := together(ctx,
		func(ctx context.Context) (err error) { v, err = s.viewer(ctx); return err },
		func(ctx context.Context) (err error) { records, err = s.store.Tracks(ctx, req.GetIds()); return err },
	)
	if err != nil {
		return nil, fmt.Errorf("get tracks: %w", err)
	}
	out := &metadatav1.GetTracksResponse{}
	for _, r := range records {
		if t := v.track(r); t != nil {
			out.Tracks = append(out.Tracks, t)
		}
	}
	return out, nil
}

// SetAvailability is for the owner and admins. A track that the caller does not see is
// not found, one that it sees but does not own is denied.
func (s catalogue) SetAvailability(ctx context.Context, req *metadatav1.SetAvailabilityRequest) (*metadatav1.SetAvailabilityResponse, error) {
	if err := checkAvailability(req.GetAvailability()); err != nil {
		return nil, fmt.Errorf("set availability: %w", err)
	}
	v, err := s.viewer(ctx)
	if err != nil {
		return nil, fmt.Errorf("set availability: %w", err)
	}
	want := canonical(req.GetAvailability())
	track, err := s.amend(ctx, req.GetTrackId(), func(t *trackEntry) error {
		track := t.after.GetTrack()
		switch {
		case !v.sees(t.after.GetClass().GetId(), track.GetOwnerId()):
			return ErrNotFound
		case !v.All && track.GetOwnerId() != v.UserID:
			return ErrNotOwner
		case t.after.GetAvailabilitySet() && proto.Equal(track.GetAvailability(), want):
			return nil
		case track.GetRevision() != req.GetRevision():
			return ErrConflict
		}
		track.Availability, t.after.AvailabilitySet = want, true
		return nil
	})
	if err := s.counted("set_availability", err); err != nil {
		return nil, fmt.Errorf("set availability: %w", err)
	}
	return &metadatav1.SetAvailabilityResponse{Track: track}, nil
}

// together runs reads that do not need each other side by side.
func together(ctx context.Context, reads ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, read := range reads {
		g.Go(func() error { return read(ctx) })
	}
	return g.Wait()
}

func order(s string) Order {
	if s == "" {
		return OrderAdded
	}
	return Order(s)
}

func pageSize(n uint32) int {
	if n == 0 {
		return defaultPage
	}
	return int(n)
}
