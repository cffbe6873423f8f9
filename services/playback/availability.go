package playback

import (
	"slices"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// listener is whom a PLAY is for, as the ticket says.
type listener struct {
	userID, market  string
	explicitAllowed bool
}

// available says whether a listener may hear a track at all. An owner hears a track of
// their own in every market and before its release, as they see it in every list.
func (t *Track) available(l listener, now time.Time) error {
	switch {
	case t.Removed:
		return ErrTrackNotFound
	case t.OwnerID != "" && t.OwnerID == l.userID:
		return nil
	case t.Withdrawn:
		return ErrWithdrawn
	case slices.Contains(t.Excluded, l.market), len(t.Excluded) > 0 && l.market == "",
		len(t.Markets) > 0 && !slices.Contains(t.Markets, l.market):
		return ErrMarket
	case !released(t.ReleaseDate, now):
		return ErrNotReleased
	case t.Explicit && !l.explicitAllowed:
		return ErrExplicit
	}
	return nil
}

// lastZone is how long after UTC a day begins in the last zone, UTC-12.
const lastZone = 12 * time.Hour

// released says whether a date has come in every zone. A date that cannot be read has
// not: rights are the side to err on.
func released(date string, now time.Time) bool {
	if date == "" {
		return true
	}
	for _, layout := range []string{time.DateOnly, "2006-01", "2006"} {
		if day, err := time.Parse(layout, date); err == nil {
			return !now.Before(day.Add(lastZone))
		}
	}
	return false
}

// choose picks a rendition: the wanted quality, else the nearest lower, else the nearest
// higher one, never above most. want 0 is the best.
func (t *Track) choose(want, most uint32) (Rendition, error) {
	var within []Rendition
	for _, r := range t.Renditions {
		if r.Kbps <= most {
			within = append(within, r)
		}
	}
	if len(within) == 0 {
		switch {
		case t.State == metadatav1.TrackState_TRACK_STATE_FAILED:
			return Rendition{}, ErrTrackFailed
		case t.State == metadatav1.TrackState_TRACK_STATE_COMPLETE && len(t.Renditions) > 0:
			return Rendition{}, ErrPlan
		}
		return Rendition{}, ErrNotPlayableYet
	}
	best := within[0]
	for _, r := range within {
		if want == 0 || r.Kbps <= want {
			best = r
		}
	}
	return best, nil
}
