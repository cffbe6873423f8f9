package metadata

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// renditions of a complete track.
const renditions = 4

// ingest is IngestService.
type ingest struct{ *Service }

func (s ingest) PutTrack(ctx context.Context, req *metadatav1.PutTrackRequest) (*metadatav1.PutTrackResponse, error) {
	request, err := requestDigest(req)
	if err != nil {
		return nil, fmt.Errorf("put track: %w", err)
	}
	out, err := s.put(ctx, req, request)
	if err := s.counted("put_track", err); err != nil {
		return nil, fmt.Errorf("put track: %w", err)
	}
	return &metadatav1.PutTrackResponse{Track: out}, nil
}

// requestDigest tells requests apart. That the encoding may differ between versions of
// the program costs a repeat that finds nothing to change.
func requestDigest(req *metadatav1.PutTrackRequest) ([]byte, error) {
	tags, err := proto.MarshalOptions{Deterministic: true}.Marshal(req.GetTags())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(binary.AppendUvarint(nil, uint64(len(tags))), append(tags, req.GetFileName()...)...))
	return sum[:16], nil
}

// match fills a track from tags and finds its artists and its album.
func (p *planner) match(ctx context.Context, r *metadatav1.TrackRecord, req *metadatav1.PutTrackRequest) error {
	t, tags := r.GetTrack(), req.GetTags()
	title, disc, number := fromFileName(req.GetFileName())
	t.Title = line(tags.GetTitle(), maxTitle)
	if t.GetTitle() == "" {
		t.Title = title
	}
	if t.Number = tags.GetNumber(); t.GetNumber() == 0 {
		t.Number = number
	}
	if tags.GetDisc() != 0 {
		disc = tags.GetDisc()
	}
	r.AlbumTitle, disc = splitDisc(line(tags.GetAlbum(), maxTitle), disc, tags.GetDiscTotal())
	t.Disc = max(disc, 1)

	var err error
	if t.Credits, r.Names, err = p.credit(ctx, trackNames(tags)); err != nil {
		return err
	}
	albumArtists := albumNames(tags)
	var spellings []string
	if r.AlbumCredits, spellings, err = p.credit(ctx, albumArtists); err != nil {
		return err
	}
	for i, c := range r.GetAlbumCredits() {
		c.Artist.Name = spellings[i]
	}
	a, err := p.matchAlbum(ctx, &albumQuestion{
		owner: t.GetOwnerId(), trackID: t.GetId(), title: r.GetAlbumTitle(), folder: tags.GetFolderKey(),
		mbid: mbid(tags.GetMusicbrainzAlbumId()), named: r.GetAlbumCredits(),
		various: len(albumArtists) == 1 && albumArtists[0].mbid == variousMBID,
		main:    t.GetCredits()[0], disc: t.GetDisc(), number: t.GetNumber(),
	})
	if err != nil {
		return err
	}
	t.AlbumId = a.after.GetAlbum().GetId()

	t.Date, r.OriginalDate = printedDate(tags.GetDate()), printedDate(tags.GetOriginalDate())
	r.Label, r.Upc, r.Compilation = line(tags.GetLabel(), maxName), upc(tags.GetUpc()), tags.GetCompilation()
	t.Isrc, t.Licence = isrc(tags.GetIsrc()), line(tags.GetLicence(), maxTitle)
	t.Composer = clip(strings.Join(lines(tags.GetComposers()), ", "), maxTitle)
	t.Genres = nil
	for _, g := range lines(tags.GetGenres()) {
		if len(t.GetGenres()) < maxGenres {
			t.Genres = append(t.Genres, clip(g, maxWord))
		}
	}
	if !r.GetAvailabilitySet() {
		t.Availability.Explicit = tags.GetExplicit()
	}
	return nil
}

// joined is s without spaces and hyphens, by which codes are grouped for the eye.
func joined(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "-", ""), " ", "")
}

func isrc(s string) string {
	s = strings.ToUpper(joined(s))
	if len(s) != 12 || strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return ""
	}
	return s
}

func upc(s string) string {
	s = joined(s)
	if len(s) < 8 || len(s) > 14 || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

// amend changes a track that exists and settles what follows from it.
func (s *Service) amend(ctx context.Context, id string, do func(*trackEntry) error) (*metadatav1.Track, error) {
	var out *metadatav1.Track
	err := s.plan(ctx, func(ctx context.Context, p *planner) error {
		t, err := p.track(ctx, id)
		switch {
		case err != nil:
			return err
		case t == nil:
			return ErrNotFound
		}
		out = t.after.GetTrack()
		if err := do(t); err != nil {
			return err
		}
		if proto.Equal(t.before, t.after) {
			return nil
		}
		return p.settle(ctx, t)
	})
	return out, err
}

func (s ingest) PutArtwork(ctx context.Context, req *metadatav1.PutArtworkRequest) (*metadatav1.PutArtworkResponse, error) {
	_, err := s.amend(ctx, req.GetTrackId(), func(t *trackEntry) error {
		t.after.OwnArtwork = req.GetArtwork()
		return nil
	})
	if err := s.counted("put_artwork", err); err != nil {
		return nil, fmt.Errorf("put artwork: %w", err)
	}
	return &metadatav1.PutArtworkResponse{}, nil
}

func (s ingest) PublishRendition(ctx context.Context, req *metadatav1.PublishRenditionRequest) (*metadatav1.PublishRenditionResponse, error) {
	track, err := s.amend(ctx, req.GetTrackId(), func(t *trackEntry) error {
		track, r := t.after.GetTrack(), req.GetRendition()
		i, found := slices.BinarySearchFunc(track.GetRenditions(), r.GetKbps(),
			func(have *metadatav1.Rendition, kbps uint32) int { return int(have.GetKbps()) - int(kbps) })
		switch {
		case found && proto.Equal(track.GetRenditions()[i], r):
			return nil
		case found:
			track.Renditions[i] = r
		default:
			track.Renditions = slices.Insert(track.Renditions, i, r)
		}
		t.published = append(t.published[:0], r)
		track.State, track.Failure = metadatav1.TrackState_TRACK_STATE_PLAYABLE, ""
		if len(track.GetRenditions()) == renditions {
			track.State = metadatav1.TrackState_TRACK_STATE_COMPLETE
		}
		return nil
	})
	if err := s.counted("publish_rendition", err); err != nil {
		return nil, fmt.Errorf("publish rendition: %w", err)
	}
	return &metadatav1.PublishRenditionResponse{Track: track}, nil
}

func (s ingest) SetTrackFacts(ctx context.Context, req *metadatav1.SetTrackFactsRequest) (*metadatav1.SetTrackFactsResponse, error) {
	track, err := s.amend(ctx, req.GetTrackId(), func(t *trackEntry) error {
		track := t.after.GetTrack()
		track.DurationMs, track.GainTrackQ8, track.PeakQ8 = req.GetDurationMs(), req.GetGainTrackQ8(), req.GetPeakQ8()
		if f := req.GetFeatures(); f != nil {
			track.Features = f
		}
		t.after.Measured = true
		return nil
	})
	if err := s.counted("set_track_facts", err); err != nil {
		return nil, fmt.Errorf("set track facts: %w", err)
	}
	return &metadatav1.SetTrackFactsResponse{Track: track}, nil
}

func (s ingest) FailTrack(ctx context.Context, req *metadatav1.FailTrackRequest) (*metadatav1.FailTrackResponse, error) {
	_, err := s.amend(ctx, req.GetTrackId(), func(t *trackEntry) error {
		track := t.after.GetTrack()
		if len(track.GetRenditions()) == 0 {
			track.State, track.Failure = metadatav1.TrackState_TRACK_STATE_FAILED, line(req.GetReason(), maxTitle)
		}
		return nil
	})
	if err := s.counted("fail_track", err); err != nil {
		return nil, fmt.Errorf("fail track: %w", err)
	}
	return &metadatav1.FailTrackResponse{}, nil
}

func (s ingest) LookupTracks(ctx context.Context, req *metadatav1.LookupTracksRequest) (*metadatav1.LookupTracksResponse, error) {
	records, err := s.store.Tracks(ctx, req.GetIds())
	if err != nil {
		return nil, fmt.Errorf("look up tracks: %w", err)
	}
	out := &metadatav1.LookupTracksResponse{}
	for _, r := range records {
		out.Tracks = append(out.Tracks, r.GetTrack())
	}
	return out, nil
}

// counted counts a call that writes.
func (s *Service) counted(call string, err error) error {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	s.ingests.WithLabelValues(call, outcome).Inc()
	return err
}
