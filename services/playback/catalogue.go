package playback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/internal/fault"
)

// catalogue is playback's copy of what metadata publishes: in the store, so that a
// restart needs no replay, and the most used tracks in memory.
type catalogue struct {
	store  Store
	source metadatav1connect.IngestServiceClient
	now    func() time.Time
	log    *slog.Logger
	cache  *otter.Cache[string, *cached]
	flight singleflight.Group
}

// cached is a track in memory; it is never changed.
type cached struct {
	Track
	missing bool      // metadata does not know it either
	until   time.Time // read again after this: another instance may have followed a change
}

const (
	// trackFresh is how long a right that was taken away may last where another instance
	// followed the change; a read of the store costs less than a play.
	trackFresh   = 10 * time.Second
	missingFresh = 5 * time.Second
)

func newCatalogue(d Deps) (*catalogue, error) {
	cache, err := otter.New(&otter.Options[string, *cached]{MaximumSize: d.Config.CachedTracks})
	if err != nil {
		return nil, err
	}
	return &catalogue{store: d.Store, source: d.Metadata, now: d.Now, log: d.Log, cache: cache}, nil
}

// get finds a track: in memory, in the store, or by one call of metadata however many
// ask at once. The track is not to be changed.
func (c *catalogue) get(ctx context.Context, id string) (*Track, error) {
	now := c.now()
	// A clock that was set back must not keep an entry for long.
	if e, ok := c.cache.GetIfPresent(id); ok && now.Before(e.until) && e.until.Sub(now) <= trackFresh {
		return e.answer()
	}
	t, err := c.store.Track(ctx, id)
	if err == nil {
		return c.remember(&cached{Track: t, until: now.Add(trackFresh)}).answer()
	}
	if !errors.Is(err, ErrAbsent) {
		return nil, err
	}
	return c.renew(ctx, id)
}

// renew asks metadata for a track, once however many ask at the same time.
func (c *catalogue) renew(ctx context.Context, id string) (*Track, error) {
	ch := c.flight.DoChan(id, func() (any, error) {
		// The first caller may go away; the others still wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupLimit)
		defer cancel()
		return c.lookup(ctx, id)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-ch:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*cached).answer() //nolint:forcetypeassert // lookup's only type
	}
}

const lookupLimit = 5 * time.Second

func (e *cached) answer() (*Track, error) {
	if e.missing || e.Removed {
		return nil, ErrTrackNotFound
	}
	return &e.Track, nil
}

func (c *catalogue) lookup(ctx context.Context, id string) (*cached, error) {
	res, err := c.source.LookupTracks(ctx, &metadatav1.LookupTracksRequest{Ids: []string{id}})
	switch kind := fault.KindOf(err); {
	case kind == fault.NotFound:
		res = &metadatav1.LookupTracksResponse{}
	case err != nil:
		return nil, ErrCatalogueAway.RetryIn(time.Second).Because(err)
	}
	for _, t := range res.GetTracks() {
		if t.GetId() == id {
			return c.keep(ctx, fromMetadata(t))
		}
	}
	return c.remember(&cached{Track: Track{ID: id}, missing: true, until: c.now().Add(missingFresh)}), nil
}

// keep stores a state and puts what is then the newest into memory.
func (c *catalogue) keep(ctx context.Context, t Track) (*cached, error) {
	if err := c.store.PutTrack(ctx, t); err != nil {
		return nil, fmt.Errorf("keep track: %w", err)
	}
	return c.remember(&cached{Track: t, until: c.now().Add(trackFresh)}), nil
}

// remember keeps the newer of e and what is in memory, so that a slow reader does not
// undo a change.
func (c *catalogue) remember(e *cached) *cached {
	got, _ := c.cache.Compute(e.ID, func(old *cached, found bool) (*cached, otter.ComputeOp) {
		if found && old.Revision > e.Revision {
			return old, otter.WriteOp
		}
		return e, otter.WriteOp
	})
	return got
}

// handle follows catalogue-events.
func (c *catalogue) handle(ctx context.Context, rec event.Record) error {
	env, err := event.Unmarshal(rec.Value)
	if err != nil {
		c.log.WarnContext(ctx, "catalogue event skipped", "offset", rec.Offset, "err", err)
		return nil
	}
	msg, err := env.GetPayload().UnmarshalNew()
	if err != nil {
		return nil //nolint:nilerr // of a newer program: nothing that this one knows of
	}
	kind, id, _ := strings.Cut(env.GetSubject(), ":")
	var next Track
	switch m := msg.(type) {
	case *eventv1.TrackChanged:
		next = fromMetadata(m.GetTrack())
	case *eventv1.RenditionPublished:
		before, err := c.store.Track(ctx, m.GetTrackId())
		if errors.Is(err, ErrAbsent) {
			return nil // a PLAY of it will ask metadata
		}
		if err != nil {
			return err
		}
		if before.Revision > env.GetRevision() || before.Removed {
			return nil // a later state has it already
		}
		next = before.with(m.GetRendition(), env.GetRevision())
	case *eventv1.TrackRemoved:
		if kind != "track" {
			return nil
		}
		next = Track{ID: id, Revision: env.GetRevision(), Removed: true}
	default:
		return nil
	}
	if next.ID == "" {
		c.log.WarnContext(ctx, "catalogue event without a track", "event", env.GetId())
		return nil
	}
	_, err = c.keep(ctx, next)
	return err
}

func fromMetadata(m *metadatav1.Track) Track {
	a := m.GetAvailability()
	t := Track{
		ID: m.GetId(), Revision: m.GetRevision(), OwnerID: m.GetOwnerId(), State: m.GetState(), DurationMS: m.GetDurationMs(),
		Markets: a.GetMarkets(), Excluded: a.GetExcludedMarkets(), ReleaseDate: a.GetReleaseDate(),
		Explicit: a.GetExplicit(), Withdrawn: a.GetWithdrawn(),
		GainTrackQ8: m.GetGainTrackQ8(), GainAlbumQ8: m.GetGainAlbumQ8(), PeakQ8: m.GetPeakQ8(),
	}
	for _, r := range m.GetRenditions() {
		t.Renditions = append(t.Renditions, Rendition{r.GetKbps(), r.GetObjectId()})
	}
	t.sortRenditions()
	return t
}

func (t *Track) sortRenditions() {
	slices.SortStableFunc(t.Renditions, func(a, b Rendition) int { return cmp.Compare(a.Kbps, b.Kbps) })
}

// with is t with one rendition more, or another one in its place.
func (t Track) with(r *metadatav1.Rendition, revision uint64) Track {
	t.Revision = revision
	t.Renditions = append(slices.DeleteFunc(slices.Clone(t.Renditions), func(old Rendition) bool { return old.Kbps == r.GetKbps() }),
		Rendition{r.GetKbps(), r.GetObjectId()})
	t.sortRenditions()
	if t.State == metadatav1.TrackState_TRACK_STATE_PENDING || t.State == metadatav1.TrackState_TRACK_STATE_UNSPECIFIED {
		t.State = metadatav1.TrackState_TRACK_STATE_PLAYABLE
	}
	return t
}
