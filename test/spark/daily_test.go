//go:build spark

package spark

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/warehouse"
)

// dayRow is what the job says of a track.
type dayRow struct {
	Track      string  `parquet:"track"`
	Plays      int64   `parquet:"plays"`
	Skips      int64   `parquet:"skips"`
	Listeners  int64   `parquet:"listeners"`
	HeardMS    int64   `parquet:"heard_ms"`
	Completion float64 `parquet:"completion"`
}

// daily holds the job over the lake to a recount of its rows.
func (w *world) daily(rows []warehouse.Row) {
	w.Helper()
	days := map[string]map[string]dayRow{}
	for _, r := range rows {
		if r.Envelope == nil {
			continue
		}
		p := new(eventv1.TrackPlayed)
		if err := r.Envelope.GetPayload().UnmarshalTo(p); err != nil {
			w.Fatal(err)
		}
		days[p.GetStarted().AsTime().Format(time.DateOnly)] = nil
	}
	args := []string{"--lake", "s3a://" + bucket + "/lake", "--out", "s3a://" + bucket + "/spark/days", "--s3-endpoint", w.gateway.Endpoint, "--shards", "2"}
	for day := range days {
		days[day] = dayOf(w.T, rows, day)
		args = append(args, "--day", day)
	}
	w.batch("plays_daily", args...)
	for day, want := range days {
		var m struct{ Version string }
		if err := json.Unmarshal(w.object("spark/days/date="+day+"/manifest.json"), &m); err != nil {
			w.Fatal(err)
		}
		got := map[string]dayRow{}
		for _, key := range w.keys("spark/days/date=" + day + "/version=" + m.Version + "/") {
			if !strings.HasSuffix(key, ".parquet") {
				continue
			}
			b := w.object(key)
			list, err := parquet.Read[dayRow](bytes.NewReader(b), int64(len(b)))
			if err != nil {
				w.Fatalf("%s: %v", key, err)
			}
			for _, r := range list {
				got[r.Track] = r
			}
		}
		// Means of the same numbers in another order.
		same := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Completion" }, cmpopts.EquateApprox(1e-12, math.SmallestNonzeroFloat64))
		if diff := cmp.Diff(want, got, same); diff != "" {
			w.Errorf("the job's day %s is not the lake's (-lake +job):\n%s", day, head(diff))
		}
		w.Logf("day %s: %d tracks", day, len(got))
	}
}

// dayOf counts a day of the lake's rows.
func dayOf(t *testing.T, rows []warehouse.Row, day string) map[string]dayRow {
	out, seen := map[string]dayRow{}, map[string]bool{}
	listeners, shares := map[string]map[string]bool{}, map[string]float64{}
	for _, r := range rows {
		if r.Envelope == nil || seen[r.Envelope.GetId()] {
			continue
		}
		seen[r.Envelope.GetId()] = true
		p := new(eventv1.TrackPlayed)
		if err := r.Envelope.GetPayload().UnmarshalTo(p); err != nil {
			t.Fatal(err)
		}
		if p.GetStarted().AsTime().Format(time.DateOnly) != day {
			continue
		}
		d := out[p.GetTrackId()]
		d.Track = p.GetTrackId()
		d.Plays++
		d.HeardMS += int64(p.GetHeardMs())
		if p.GetSkipped() {
			d.Skips++
		}
		if listeners[d.Track] == nil {
			listeners[d.Track] = map[string]bool{}
		}
		listeners[d.Track][r.Envelope.GetUserId()] = true
		d.Listeners = int64(len(listeners[d.Track]))
		shares[d.Track] += min(1, float64(p.GetHeardMs())/float64(p.GetTrackMs()))
		d.Completion = shares[d.Track] / float64(d.Plays)
		out[d.Track] = d
	}
	return out
}
