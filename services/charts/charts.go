// Package charts owns what is played most: plays by hour and day, market and track. They
// are counted here, from track-played-events, or by the Spark job of jobs/, whose charts
// are taken over from the bucket; from the same events both make the same charts.
package charts

import (
	"regexp"
	"time"

	"github.com/segue-music/segue/stream/id"
)

// Size is how many tracks a chart has.
const Size = 50

// Period is the length of what a chart is about; hours and days are those of UTC.
type Period int

// The periods. Their numbers are stored.
const (
	Hour Period = 1
	Day  Period = 2
)

// Periods are all of them.
func Periods() []Period { return []Period{Hour, Day} }

// Length of a period.
func (p Period) Length() time.Duration {
	if p == Day {
		return 24 * time.Hour
	}
	return time.Hour
}

// Start is the beginning of the period in which t lies.
func (p Period) Start(t time.Time) time.Time { return t.UTC().Truncate(p.Length()) }

// Everywhere stands for all markets, known or not.
const Everywhere = ""

// Key names one chart.
type Key struct {
	Period Period
	Start  time.Time // of the period
	Market string    // ISO 3166-1 alpha-2, or Everywhere
}

// Entry is a place in a chart; the first has rank 1.
type Entry struct {
	TrackID string
	Plays   uint64
}

// Play is one listen.
type Play struct {
	EventID string
	// Began is when it began, to which period it belongs.
	Began   time.Time
	Market  string // Everywhere where it is not known
	TrackID string
}

var market = regexp.MustCompile(`^[A-Z]{2}$`) //nolint:gochecknoglobals // a constant

// marketOf is a market as it is counted: what is none is not known.
func marketOf(s string) string {
	if market.MatchString(s) {
		return s
	}
	return Everywhere
}

func isID(s string) bool {
	_, err := id.Parse(s)
	return err == nil
}
