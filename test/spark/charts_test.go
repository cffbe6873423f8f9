//go:build spark

package spark

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/event"
	chartsv1 "github.com/segue-music/segue/gen/segue/charts/v1"
	"github.com/segue-music/segue/services/charts"
	"github.com/segue-music/segue/services/charts/sqlite"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// sameCharts: the service tells the charts of the lake, whether it counts the log itself
// or takes over what the stream has published.
func (w *world) sameCharts(want map[string][]entry) {
	w.Helper()
	for _, source := range []string{charts.FromEvents, charts.FromSpark} {
		store, err := sqlite.Open(w.Context(), filepath.Join(w.TempDir(), "charts.db"), sqlite.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			w.Fatal(err)
		}
		svc, err := charts.New(charts.Deps{
			Config: charts.Config{Source: source, SparkPrefix: root, Keep: 400 * 24 * time.Hour},
			Store:  store, Events: w.log, Blobs: w.raw, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		})
		if err != nil {
			w.Fatal(err)
		}
		ctx, end := context.WithCancel(w.Context())
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- svc.Run(ctx) }()
		diff := ""
		w.until(3*time.Minute, "charts from "+source, nil, func() bool {
			if source == charts.FromEvents {
				if left, err := event.Lag(ctx, w.log, charts.Group, event.TrackPlayed); err != nil || left > 0 {
					return false
				}
			}
			diff = cmp.Diff(want, w.asked(svc, want))
			return diff == "" || source == charts.FromEvents
		})
		if diff != "" {
			w.Errorf("charts from %s are not those of the lake (-lake +service):\n%s", source, head(diff))
		}
		w.Logf("charts from %s after %v", source, time.Since(began).Round(time.Millisecond))
		end()
		if err := <-ended; err != nil {
			w.Error(err)
		}
		_ = store.Close()
	}
}

// asked asks the service for the charts that are in want.
func (w *world) asked(svc *charts.Service, want map[string][]entry) map[string][]entry {
	w.Helper()
	out := map[string][]entry{}
	for key := range want {
		parts := strings.Split(key, "/")
		form, period := "20060102T15", chartsv1.Period_PERIOD_HOUR
		if parts[0] == "day" {
			form, period = "20060102", chartsv1.Period_PERIOD_DAY
		}
		at, err := time.Parse(form, parts[1])
		if err != nil {
			w.Fatal(err)
		}
		res, err := svc.GetChart(w.Context(), &chartsv1.GetChartRequest{
			Market: strings.TrimPrefix(parts[2], "*"), Period: period, At: timestamppb.New(at.Add(59 * time.Minute)),
		})
		if err != nil {
			w.Fatal(err)
		}
		var list []entry
		for _, e := range res.GetEntries() {
			list = append(list, entry{e.GetTrackId(), int64(e.GetPlays())})
		}
		if list != nil {
			out[key] = list
		}
	}
	return out
}
