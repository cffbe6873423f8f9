package metadata

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/stream/id"
)

// afterUTC is when a day has begun in every zone of the world: UTC-12 is the last.
const afterUTC = 12 * time.Hour

// classOf is the class of a track. Equal availabilities, however they are written, have
// the same one. What only the owner sees is one class.
func classOf(a *metadatav1.Availability, failed bool) *metadatav1.VisibilityClass {
	c := &metadatav1.VisibilityClass{Failed: failed, Availability: &metadatav1.Availability{}}
	switch {
	case failed:
	case a.GetWithdrawn():
		c.Availability.Withdrawn = true
	default:
		c.Availability = canonical(a)
	}
	sum := id.Derive("visibility class", strconv.FormatBool(c.GetFailed()), strconv.FormatBool(c.GetAvailability().GetWithdrawn()),
		strings.Join(c.GetAvailability().GetMarkets(), " "), strings.Join(c.GetAvailability().GetExcludedMarkets(), " "),
		c.GetAvailability().GetReleaseDate(), strconv.FormatBool(c.GetAvailability().GetExplicit()))
	c.Id = int64(binary.BigEndian.Uint64(sum[:8]) >> 1)
	return c
}

// canonical is a with sorted markets and a whole date.
func canonical(a *metadatav1.Availability) *metadatav1.Availability {
	set := func(list []string) []string {
		list = slices.Clone(list)
		slices.Sort(list)
		return slices.Compact(list)
	}
	date := a.GetReleaseDate()
	if len(date) == 4 {
		date += "-01-01"
	}
	return &metadatav1.Availability{
		Markets: set(a.GetMarkets()), ExcludedMarkets: set(a.GetExcludedMarkets()),
		ReleaseDate: date, Explicit: a.GetExplicit(), Withdrawn: a.GetWithdrawn(),
	}
}

// checkAvailability refuses what no rule of a request's shape can: a day that is none.
func checkAvailability(a *metadatav1.Availability) error {
	if date := canonical(a).GetReleaseDate(); date != "" {
		if _, err := time.Parse(time.DateOnly, date); err != nil {
			return ErrAvailability.With("release_date is no day")
		}
	}
	return nil
}

// seen tells whether a listener in market sees tracks of the class at now. A listener
// whose market is not known sees only what has no market.
func seen(c *metadatav1.VisibilityClass, market string, explicit bool, now time.Time) bool {
	a := c.GetAvailability()
	switch {
	case c.GetFailed(), a.GetWithdrawn():
		return false
	case a.GetExplicit() && !explicit:
		return false
	case len(a.GetMarkets()) > 0 && !slices.Contains(a.GetMarkets(), market):
		return false
	case len(a.GetExcludedMarkets()) > 0 && (market == "" || slices.Contains(a.GetExcludedMarkets(), market)):
		return false
	case a.GetReleaseDate() == "":
		return true
	}
	day, err := time.Parse(time.DateOnly, a.GetReleaseDate())
	return err == nil && !now.Before(day.Add(afterUTC))
}
