package unixtime_test

import (
	"testing"
	"time"

	"github.com/segue-music/segue/internal/unixtime"
)

func TestRoundTrip(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(1, 123_456_789).UTC(), time.Unix(-1, 5).UTC()} {
		if got := unixtime.FromNano(unixtime.Nano(at)); got != at {
			t.Errorf("%v by nanoseconds is %v", at, got)
		}
		if got := unixtime.FromMilli(unixtime.Milli(at)); got != at.Truncate(time.Millisecond) {
			t.Errorf("%v by milliseconds is %v", at, got)
		}
	}
	zone := time.FixedZone("elsewhere", 3600)
	if got := unixtime.FromMilli(unixtime.Milli(time.Unix(7, 0).In(zone))); got != time.Unix(7, 0).UTC() {
		t.Errorf("of another zone it is %v", got)
	}
}
