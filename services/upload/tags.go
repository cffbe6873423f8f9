package upload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/segue-music/segue/audio/tag"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/services/upload/glance"
	"github.com/segue-music/segue/stream/id"
)

// tags recognises the content, looks for a twin and gives the tags to metadata.
func (r *run) tags(ctx context.Context) error {
	r.enter("probe")
	t := r.s.scan.read.Take(r.u.ID, glance.Version{Size: r.u.Size, ModTime: r.u.ModTime, Quick: r.u.Quick})
	if t == nil {
		src, err := r.s.look(ctx, r.u)
		if err != nil {
			return err
		}
		defer src.Close()
		quick, err := glance.Quick(src, src.Size())
		if err != nil {
			return err
		}
		if r.u.Quick != quick {
			// It has to be known before twins are asked for, so that the next one finds it.
			if err := r.save(ctx, func(d *draft) error { d.Upload.Quick = quick; return nil }); err != nil {
				return err
			}
		}
		if t, err = r.readTags(ctx, src); err != nil {
			return r.unlessTwin(ctx, err)
		}
	}
	// Of equal files that are looked at side by side each would miss the others.
	defer r.s.alike.Enter(fmt.Sprint(r.u.OwnerID, r.u.Size, r.u.Quick))()
	if twin, err := r.twin(ctx); err != nil || twin != nil {
		return errors.Join(err, r.duplicateOf(ctx, twin))
	}
	if t.Duration > r.s.cfg.MaxDuration && !t.Estimated {
		// It is believed: to find out would take the time that the bound is to save.
		return reject("too_long", "The file holds more hours of sound than are allowed.", nil)
	}
	trackID := r.u.TrackID
	if trackID == "" {
		trackID = trackOf(r.u.ID)
	}
	req := &metadatav1.PutTrackRequest{
		TrackId: trackID, OwnerId: r.u.OwnerID, Tags: fileTags(t, r.folderKey()),
		DurationMs: claimedMS(t.Duration), FileName: r.u.FileName,
	}
	if _, err := within(ctx, r.s.Metadata.PutTrack, req); err != nil {
		return fmt.Errorf("put track: %w", err)
	}
	return r.settle(ctx, func(d *draft) error {
		u := &d.Upload
		u.TrackID, u.Stage, u.Step, u.Progress = trackID, StageCover, "cover", max(u.Progress, 20)
		u.Facts.DurationMS, u.Facts.Estimated = req.GetDurationMs(), t.Estimated
		d.emit(r.done(0))
		return nil
	})
}

// unlessTwin says that an upload cannot be read, unless it is one that is in already.
func (r *run) unlessTwin(ctx context.Context, cause error) error {
	if twin, err := r.twin(ctx); err == nil && twin != nil {
		return r.duplicateOf(ctx, twin)
	}
	return cause
}

// trackOf is the id of the track that an upload makes.
func trackOf(uploadID string) string { return id.Derive("track", uploadID).String() }

// twin finds an upload of the same bytes by the same owner that came before: an older one,
// or one that is listed already.
func (r *run) twin(ctx context.Context) (*Upload, error) {
	if r.u.Supersedes != "" {
		return nil, nil // a new version of a file renews its track, whatever it equals
	}
	twins, err := r.s.Store.Twins(ctx, r.u.OwnerID, r.u.Size, r.u.Quick)
	if err != nil {
		return nil, err
	}
	for _, t := range twins {
		listed := t.TrackID != "" && r.u.TrackID == ""
		if t.ID == r.u.ID || t.ID > r.u.ID && !listed {
			continue // a younger one yields, unless it was quicker
		}
		theirs, err := r.s.hashAll(ctx, t)
		if final(err) != nil || errors.Is(err, errChanged) {
			continue // the other file is gone or no longer what it was
		}
		if err != nil {
			return nil, err
		}
		ours, err := r.s.hashAll(ctx, r.u)
		if err != nil {
			return nil, err
		}
		if ours == theirs {
			return &t, nil
		}
	}
	return nil, nil
}

func (r *run) duplicateOf(ctx context.Context, twin *Upload) error {
	if twin == nil {
		return nil
	}
	trackID := twin.TrackID
	if trackID == "" {
		trackID = trackOf(twin.ID)
	}
	if err := r.settle(ctx, func(d *draft) error {
		u := &d.Upload
		u.State, u.Stage, u.TrackID, u.Progress = Duplicate, StageNone, trackID, 1000
		u.Reason, u.Step = "The same file is in already.", ""
		d.emit(r.done(0))
		return nil
	}); err != nil {
		return err
	}
	r.s.tidy(ctx, r.u)
	return nil
}

// readTags reads by audio/tag and asks ffprobe, which costs far more, only where that
// knows nothing.
func (r *run) readTags(ctx context.Context, src content) (*tag.Tags, error) {
	t, err := tag.Read(src, src.Size())
	if err == nil {
		return t, nil
	}
	if !errors.Is(err, tag.ErrUnknown) && !errors.Is(err, tag.ErrCorrupt) {
		return nil, fmt.Errorf("read tags: %w", err)
	}
	select {
	case r.s.probes <- struct{}{}:
		defer func() { <-r.s.probes }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := os.MkdirAll(r.workDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make work folder: %w", err)
	}
	f, _, err := r.file(ctx)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := r.s.FFmpeg.Probe(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	t = tag.FromFields(p.Tags)
	t.Duration, t.Rate, t.Channels, t.BitRate, t.Estimated = p.Duration, p.Rate, p.Channels, p.BitRate, true
	return t, nil
}

// folderKey groups the files of one folder without telling its name.
func (r *run) folderKey() string {
	if r.u.Source != SourceWatch {
		return ""
	}
	sum := sha256.Sum256([]byte(r.s.cfg.Watch + "\x00" + path.Dir(r.u.Path)))
	return hex.EncodeToString(sum[:16])
}

// fileTags brings tags within the bounds of the contract.
func fileTags(t *tag.Tags, folderKey string) *metadatav1.FileTags {
	return &metadatav1.FileTags{
		Title: t.Title, Artists: most(t.Artists, 64), Featured: most(t.Featured, 64), AlbumArtists: most(t.AlbumArtists, 64),
		Album: t.Album, Disc: count(t.Disc), DiscTotal: count(t.DiscTotal), Number: count(t.Track), TrackTotal: count(t.TrackTotal),
		Date: t.Date, OriginalDate: t.OriginalDate, Genres: most(t.Genres, 32), Compilation: t.Compilation, Explicit: t.Explicit,
		Isrc: t.ISRC, Upc: t.Barcode, Label: tag.Clean(t.Label, 512), Composers: most(t.Composers, 64),
		Licence: tag.Clean(t.Licence, 1024), MusicbrainzArtistIds: most(t.MusicBrainz.Artists, 64),
		MusicbrainzAlbumId: t.MusicBrainz.Release, MusicbrainzRecordingId: t.MusicBrainz.Recording,
		MusicbrainzAlbumArtistIds: most(t.MusicBrainz.AlbumArtists, 64), FolderKey: folderKey,
	}
}

// claimedMS brings the length that a header claims within the bounds of the contract. A
// longer one is a lie, which the decode finds out and says in its own words.
func claimedMS(d time.Duration) uint64 {
	const bound = 1_000_000_000 // PutTrackRequest.duration_ms
	return uint64(min(max(d.Milliseconds(), 0), bound))
}

func most(v []string, n int) []string { return v[:min(len(v), n)] }

func count(n int) uint32 { return uint32(max(0, min(n, 1<<16))) }

// tell says that a track could not be made.
func (r *run) tell(ctx context.Context) error {
	r.enter(StageTell.String())
	_, err := within(ctx, r.s.Metadata.FailTrack, &metadatav1.FailTrackRequest{TrackId: r.u.TrackID, Reason: r.u.Reason})
	if err != nil {
		return fmt.Errorf("fail track: %w", err)
	}
	return r.settle(ctx, func(d *draft) error {
		d.Upload.Stage = StageNone
		return nil
	})
}

// expected is the length that a decode has to come near, 0 where the headers only guess.
func (f Facts) expected() time.Duration {
	if f.Estimated {
		return 0
	}
	return time.Duration(f.DurationMS) * time.Millisecond
}
