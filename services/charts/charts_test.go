package charts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	chartsv1 "github.com/segue-music/segue/gen/segue/charts/v1"
	"github.com/segue-music/segue/gen/segue/charts/v1/chartsv1connect"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/charts"
	"github.com/segue-music/segue/services/charts/sqlite"
	"github.com/segue-music/segue/stream/id"
)

var now = time.Date(2026, 3, 29, 0, 58, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// world is the service on its embedded store, a real log and a folder of objects.
type world struct {
	*testing.T
	dir   string
	log   event.Log
	blobs blob.Store
	store *sqlite.Store
	svc   *charts.Service
	srv   *rpctest.Server
	made  int
}

func setUp(t *testing.T, source string) *world {
	w := &world{T: t, dir: t.TempDir()}
	log, err := locallog.Open(filepath.Join(w.dir, "log"), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := localblob.Open(filepath.Join(w.dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	w.log, w.blobs = log, blobs
	w.store, err = sqlite.Open(t.Context(), filepath.Join(w.dir, "charts.db"), sqlite.Options{Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.store.Close()
		_ = blobs.Close()
		_ = log.Close()
	})
	w.svc, err = charts.New(charts.Deps{
		Config: charts.Config{Source: source, SparkPrefix: "spark/plays/", Keep: 400 * 24 * time.Hour},
		Store:  w.store, Events: w.log, Blobs: w.blobs, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.srv = rpctest.New(t, w.svc.Handler)
	return w
}

// run runs the service until all plays in the log are counted.
func (w *world) run() {
	w.Helper()
	ctx, end := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.svc.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for left := int64(1); left > 0; <-tick.C {
		var err error
		if left, err = event.Lag(w.Context(), w.log, charts.Group, event.TrackPlayed); err != nil {
			w.Fatal(err)
		}
	}
	end()
	if err := <-ended; err != nil {
		w.Error(err)
	}
}

func track(name string) string { return id.Derive("track", name).String() }

func (w *world) record(began time.Time, market, trackID string) event.Record {
	w.Helper()
	w.made++
	e, err := event.New(id.Derive("played", fmt.Sprint(w.made)).String(), now, "play:x", 1, &eventv1.TrackPlayed{
		TrackId: trackID, Market: market, Started: timestamppb.New(began),
	})
	if err != nil {
		w.Fatal(err)
	}
	b, err := event.Marshal(e)
	if err != nil {
		w.Fatal(err)
	}
	return event.Record{Topic: event.TrackPlayed, Key: []byte("u"), Value: b}
}

func (w *world) append(recs ...event.Record) {
	w.Helper()
	if err := w.log.Append(w.Context(), recs...); err != nil {
		w.Fatal(err)
	}
}

func person(roles ...authv1.Role) identity.Identity {
	return identity.Identity{Target: "gateway", UserID: "u", Roles: roles}
}

func (w *world) as(who identity.Identity) chartsv1connect.ChartServiceClient {
	return chartsv1connect.NewChartServiceClient(w.srv.As(who), rpctest.URL, connect.WithInterceptors(rpc.ClientInterceptor()))
}

// chart is what a listener is told, "name plays previous" a line.
func (w *world) chart(period chartsv1.Period, market string, at time.Time) []string {
	w.Helper()
	res, err := w.as(person(authv1.Role_ROLE_LISTENER)).GetChart(w.Context(), &chartsv1.GetChartRequest{Period: period, Market: market, At: timestamppb.New(at)})
	if err != nil {
		w.Fatal(err)
	}
	var out []string
	for i, e := range res.GetEntries() {
		if e.GetRank() != uint32(i+1) {
			w.Errorf("rank %d in place %d", e.GetRank(), i+1)
		}
		name := e.GetTrackId()
		for _, n := range []string{"a", "b", "c"} {
			if name == track(n) {
				name = n
			}
		}
		out = append(out, fmt.Sprint(name, " ", e.GetPlays(), " ", e.GetPreviousRank()))
	}
	return out
}

func (w *world) want(what string, got []string, want ...string) {
	w.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const hour, day = chartsv1.Period_PERIOD_HOUR, chartsv1.Period_PERIOD_DAY

// TestCounted: listens, doubled and late ones, and what is no listen.
func TestCounted(t *testing.T) {
	w := setUp(t, charts.FromEvents)
	before := now.Add(-time.Hour) // of the day before, too
	twice := w.record(now, "SE", track("b"))
	w.append(
		w.record(now, "SE", track("a")), w.record(now, "DE", track("a")), twice, twice, w.record(now, "?", track("b")), w.record(now, "SE", track("b")),
		w.record(before, "SE", track("a")), event.Record{Topic: event.TrackPlayed, Value: []byte("no event")},
		w.record(now, "SE", "no track"), w.record(now.Add(-401*24*time.Hour), "SE", track("c")),
	)
	w.run()
	w.want("hour", w.chart(hour, "", now), "b 3 0", "a 2 1")
	w.want("hour in SE", w.chart(hour, "SE", now), "b 2 0", "a 1 1")
	w.want("hour in DE", w.chart(hour, "DE", now), "a 1 0")
	w.want("hour in US", w.chart(hour, "US", now))
	w.want("day", w.chart(day, "", now), "b 3 0", "a 2 1")
	w.want("day before", w.chart(day, "", before), "a 1 0")
	w.want("too long ago", w.chart(day, "", now.Add(-401*24*time.Hour)))

	w.append(w.record(before, "SE", track("c")), twice, w.record(before, "SE", track("c"))) // late
	w.run()
	w.want("hour, once more", w.chart(hour, "", now), "b 3 0", "a 2 2")
	w.want("hour before, once more", w.chart(hour, "", before), "c 2 0", "a 1 0")
}

// TestCounted_Again: what the log was told of progress does not matter.
func TestCounted_Again(t *testing.T) {
	w := setUp(t, charts.FromEvents)
	w.append(w.record(now, "SE", track("a")), w.record(now, "SE", track("b")), w.record(now, "SE", track("b")))
	w.run()
	if err := w.log.Commit(t.Context(), charts.Group, event.TrackPlayed, 0, 1); err != nil {
		t.Fatal(err)
	}
	w.append(w.record(now, "SE", track("a")))
	w.run()
	w.want("hour", w.chart(hour, "", now), ranked("a 2 0", "b 2 0")...)
}

// ranked puts tracks with as many plays in the order of their ids.
func ranked(a, b string) []string {
	if track("a") < track("b") {
		return []string{a, b}
	}
	return []string{b, a}
}

func TestGetChart(t *testing.T) {
	w := setUp(t, charts.FromEvents)
	var recs []event.Record
	for i := range 60 {
		recs = append(recs, w.record(now, "SE", id.Derive("t", fmt.Sprint(i)).String()))
	}
	w.append(recs...)
	w.run()
	if n := len(w.chart(hour, "", now)); n != charts.Size {
		t.Errorf("%d entries", n)
	}
	res, err := w.as(person(authv1.Role_ROLE_ARTIST)).GetChart(t.Context(), &chartsv1.GetChartRequest{Period: day, Market: "US"})
	midnight := now.Truncate(24 * time.Hour)
	want := &chartsv1.GetChartResponse{Start: timestamppb.New(midnight), End: timestamppb.New(midnight.Add(24 * time.Hour))}
	if diff := cmp.Diff(want, res, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	for name, c := range map[string]struct {
		who  identity.Identity
		req  *chartsv1.GetChartRequest
		want fault.Kind
	}{
		"no_period":     {person(authv1.Role_ROLE_LISTENER), &chartsv1.GetChartRequest{}, fault.Invalid},
		"other_period":  {person(authv1.Role_ROLE_LISTENER), &chartsv1.GetChartRequest{Period: 7}, fault.Invalid},
		"market":        {person(authv1.Role_ROLE_LISTENER), &chartsv1.GetChartRequest{Period: day, Market: "*"}, fault.Invalid},
		"time":          {person(authv1.Role_ROLE_LISTENER), &chartsv1.GetChartRequest{Period: day, At: &timestamppb.Timestamp{Nanos: -1}}, fault.Invalid},
		"nobody":        {identity.Identity{}, &chartsv1.GetChartRequest{Period: day}, fault.Unauthenticated},
		"service":       {identity.Identity{Target: "playback"}, &chartsv1.GetChartRequest{Period: day}, fault.Denied},
		"without_roles": {person(), &chartsv1.GetChartRequest{Period: day}, fault.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := w.as(c.who).GetChart(t.Context(), c.req); fault.KindOf(err) != c.want {
				t.Errorf("error %v, want kind %v", err, c.want)
			}
		})
	}
}

func (w *world) publish(name string, chart any) {
	w.Helper()
	b, err := json.Marshal(chart)
	if s, ok := chart.(string); ok {
		b = []byte(s)
	}
	if err == nil {
		err = w.blobs.Put(w.Context(), "spark/plays/charts/"+name, strings.NewReader(string(b)), blob.PutOptions{})
	}
	if err != nil {
		w.Fatal(err)
	}
}

type sparkEntry struct {
	Track string `json:"track"`
	Plays uint64 `json:"plays"`
}

func sparkChart(markets map[string][]sparkEntry) map[string]any {
	return map[string]any{"period": "day", "markets": markets, "of_a_newer_job": 1}
}

// TestFollow: of what the job published the newest counts, and what is malformed does not.
func TestFollow(t *testing.T) {
	w := setUp(t, charts.FromSpark)
	a, b := sparkEntry{track("a"), 3}, sparkEntry{track("b"), 2}
	w.publish("day/20260329/0000000000000000007.json", sparkChart(map[string][]sparkEntry{"*": {b}}))
	w.publish("day/20260329/0000000000000000012.json", sparkChart(map[string][]sparkEntry{"*": {a, b}, "SE": {b}}))
	w.publish("hour/20260329T00/0000000000000000012.json", sparkChart(map[string][]sparkEntry{"*": {b}}))
	for name, chart := range map[string]any{
		"day/20260328/1.json":   `{"markets":`,
		"day/20260327/1.json":   sparkChart(map[string][]sparkEntry{"sweden": {a}}),
		"day/20260326/1.json":   sparkChart(map[string][]sparkEntry{"*": {a, a}}),
		"day/20260325/1.json":   sparkChart(map[string][]sparkEntry{"*": {{"x", 1}}}),
		"week/20260324/1.json":  sparkChart(map[string][]sparkEntry{"*": {a}}),
		"day/2026-03-24/1.json": sparkChart(map[string][]sparkEntry{"*": {a}}),
	} {
		w.publish(name, chart)
	}
	if err := w.svc.Follow(t.Context()); err == nil {
		t.Error("malformed charts are taken for sound ones")
	}
	w.want("day", w.chart(day, "", now), "a 3 0", "b 2 0")
	w.want("day in SE", w.chart(day, "SE", now), "b 2 0")
	w.want("hour", w.chart(hour, "", now), "b 2 0")
	for ago := range 5 {
		w.want("malformed", w.chart(day, "", now.Add(-time.Duration(ago+1)*24*time.Hour)))
	}
	w.publish("day/20260329/0000000000000000020.json", sparkChart(map[string][]sparkEntry{"*": {b}}))
	if err := w.svc.Follow(t.Context()); err != nil {
		t.Errorf("told again of what was malformed: %v", err)
	}
	w.want("day, once more", w.chart(day, "", now), "b 2 0")
	w.want("day in SE, once more", w.chart(day, "SE", now))
}

func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"markets":{"*":[{"track":"0000000000000000000001","plays":3}],"SE":[]}}`))
	f.Add([]byte(`{"markets":{"*":null}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		markets, err := charts.ParseSnapshot(b)
		if err != nil {
			return
		}
		for _, list := range markets {
			if len(list) > charts.Size {
				t.Errorf("%d entries", len(list))
			}
		}
	})
}
