//go:build spark

package spark

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/stream/id"
)

var (
	runFlag  = flag.Duration("spark.run", 75*time.Second, "how long plays come while the stream is killed and started again")
	rateFlag = flag.Int("spark.rate", 200, "plays a second")
)

const (
	root    = "spark/plays/"
	rootURL = "s3a://" + bucket + "/spark/plays"
)

// TestPlays: plays come for a while, some of them late, some twice and some both, and the
// stream that counts them is killed twice. What it has counted in the end is what the lake
// has, minute by minute; so are the charts, and what the job over the lake says of a day.
func TestPlays(t *testing.T) {
	w := setUp(t)
	var stop atomic.Bool
	sent := make(chan map[string]int, 1)
	go func() { sent <- w.produce(&stop) }()
	began := time.Now()
	stream := func() *job {
		return w.start("plays_stream", "--kafka", w.kafka.Seeds[0], "--root", rootURL, "--s3-endpoint", w.gateway.Endpoint,
			"--every", "2 seconds", "--shards", "2")
	}
	j := stream()
	rng := rand.New(rand.NewPCG(1, 2))
	for kill := range 2 {
		had := len(w.batches())
		w.until(5*time.Minute, "a batch more", j, func() bool {
			return len(w.batches()) > had && time.Since(began) > *runFlag*time.Duration(kill+1)/3
		})
		<-time.After(time.Duration(rng.IntN(3000)) * time.Millisecond) // anywhere in a batch
		j.end(syscall.SIGKILL)
		t.Logf("killed after %v in batch %d", time.Since(began).Round(time.Millisecond), len(w.batches()))
		j = stream()
	}
	w.until(5*time.Minute, "the plays have come", j, func() bool { return time.Since(began) > *runFlag })
	stop.Store(true)
	kinds := <-sent
	w.until(10*time.Minute, "all is counted", j, w.counted)
	j.end(syscall.SIGTERM)

	rows := w.lakeRows(event.TrackPlayed)
	want, dup := recount(t, rows)
	t.Logf("%d records in the lake, %d plays, %d doubles; %v", len(rows), sum(want), dup, kinds)
	for _, kind := range []string{"double", "late", "late double", "unreadable"} {
		if kinds[kind] == 0 {
			t.Errorf("no play was %s", kind)
		}
	}
	if diff := cmp.Diff(want, w.minutes()); diff != "" {
		t.Errorf("the stream has not counted what the lake has (-lake +stream):\n%s", head(diff))
	}
	w.told(sum(want), kinds["unreadable"])
	if diff := cmp.Diff(chartsOf(want), w.charts()); diff != "" {
		t.Errorf("charts are not those of the lake (-lake +stream):\n%s", head(diff))
	}
	w.sameCharts(chartsOf(want))
	w.stopped()
	w.daily(rows)
}

func head(s string) string { return s[:min(len(s), 3000)] }

// produce appends plays until stop says so, and returns how many there were of each kind.
func (w *world) produce(stop *atomic.Bool) map[string]int {
	rng := rand.New(rand.NewPCG(7, 7))
	tracks := rand.NewZipf(rng, 1.1, 4, 300)
	markets := []string{"SE", "DE", "US", "JP", "BR", ""}
	kinds := map[string]int{}
	var old []event.Record // those that began long ago
	var recent []event.Record
	n := 0
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ; !stop.Load(); <-tick.C {
		var recs []event.Record
		for range *rateFlag / 10 {
			n++
			now := time.Now()
			began := now.Add(-time.Duration(rng.Int64N(int64(5 * time.Minute))))
			kind := "play"
			if rng.IntN(50) == 0 { // longer ago than state and watermark reach
				kind, began = "late", now.Add(-time.Hour-time.Duration(rng.Int64N(int64(5*time.Hour))))
			}
			rec := w.play(rng, n, began, now, fmt.Sprintf("%022d", tracks.Uint64()), markets[rng.IntN(len(markets))])
			kinds[kind]++
			recs = append(recs, rec)
			if kind == "late" {
				old = append(old, rec)
			} else {
				recent = append(recent, rec)
			}
			switch rng.IntN(100) {
			case 0, 1: // at once
				recs = append(recs, rec)
				kinds["double"]++
			case 2: // after a while
				recs = append(recs, recent[rng.IntN(len(recent))])
				kinds["double"]++
			case 3:
				if len(old) > 0 {
					recs = append(recs, old[rng.IntN(len(old))])
					kinds["late double"]++
				}
			case 4:
				if rng.IntN(10) == 0 {
					recs = append(recs, event.Record{Topic: event.TrackPlayed, Key: []byte("x"), Value: []byte{0xff, 0xff, byte(n)}})
					kinds["unreadable"]++
				}
			}
		}
		if err := w.log.Append(context.WithoutCancel(w.Context()), recs...); err != nil {
			if w.Context().Err() == nil {
				w.Errorf("append: %v", err)
			}
			return kinds
		}
	}
	return kinds
}

func (w *world) play(rng *rand.Rand, n int, began, now time.Time, track, market string) event.Record {
	user := fmt.Sprintf("%022d", rng.IntN(500))
	playID := id.Derive("play", strconv.Itoa(n)).String()
	heard := uint64(30_000 + rng.IntN(180_000))
	e, err := event.New(id.Derive("track played", user, playID).String(), now, "play:"+playID, 3, &eventv1.TrackPlayed{
		PlayId: playID, TrackId: track, Started: timestamppb.New(began), HeardMs: heard, TrackMs: 210_000, Market: market,
		Skipped: rng.IntN(4) == 0, ReasonStart: "click", ReasonEnd: "track_end", QualityKbps: 160,
	})
	if err != nil {
		panic(err) // the ids are ours
	}
	e.UserId, e.ActorId = user, user
	b, err := event.Marshal(e)
	if err != nil {
		panic(err)
	}
	return event.Record{Topic: event.TrackPlayed, Key: []byte(user), Value: b}
}

// cell is one number of the stream's output.
type cell struct {
	Minute        time.Time
	Market, Track string
}

// recount counts the lake's rows, each event once.
func recount(t *testing.T, rows []warehouse.Row) (cells map[cell]int64, doubles int) {
	cells, seen := map[cell]int64{}, map[string]bool{}
	for _, r := range rows {
		if r.Envelope == nil {
			continue
		}
		p := new(eventv1.TrackPlayed)
		if err := r.Envelope.GetPayload().UnmarshalTo(p); err != nil {
			t.Fatal(err)
		}
		if seen[r.Envelope.GetId()] {
			doubles++
			continue
		}
		seen[r.Envelope.GetId()] = true
		cells[cell{p.GetStarted().AsTime().Truncate(time.Minute), p.GetMarket(), p.GetTrackId()}]++
	}
	return cells, doubles
}

func sum(cells map[cell]int64) (n int64) {
	for _, v := range cells {
		n += v
	}
	return n
}

// batches are the numbers of those that count.
func (w *world) batches() (out []int64) {
	w.Helper()
	for _, key := range w.keys(root + "manifest/") {
		n, err := strconv.ParseInt(strings.TrimSuffix(path.Base(key), ".json"), 10, 64)
		if err != nil {
			w.Fatalf("manifest %s", key)
		}
		out = append(out, n)
	}
	return out
}

// counted reports whether the stream's last batch has reached the end of the log.
func (w *world) counted() bool {
	w.Helper()
	commits := w.keys(root + "checkpoint/commits/")
	last := int64(-1)
	for _, key := range commits {
		if n, err := strconv.ParseInt(path.Base(key), 10, 64); err == nil {
			last = max(last, n)
		}
	}
	if last < 0 {
		return false
	}
	lines := bytes.Split(bytes.TrimSpace(w.object(fmt.Sprintf("%scheckpoint/offsets/%d", root, last))), []byte("\n"))
	var at map[string]map[string]int64
	if err := json.Unmarshal(lines[len(lines)-1], &at); err != nil {
		w.Fatal(err)
	}
	n, err := w.log.Partitions(w.Context(), event.TrackPlayed)
	if err != nil {
		w.Fatal(err)
	}
	for p := range n {
		_, next, err := w.log.Bounds(w.Context(), event.TrackPlayed, p)
		if err != nil {
			w.Fatal(err)
		}
		if at[event.TrackPlayed][strconv.Itoa(int(p))] < next {
			return false
		}
	}
	return true
}

type minuteRow struct {
	Minute time.Time `parquet:"minute,timestamp(microsecond)"`
	Market string    `parquet:"market"`
	Track  string    `parquet:"track"`
	Plays  int64     `parquet:"plays"`
}

// minutes reads what the stream has counted, as any reader would.
func (w *world) minutes() map[cell]int64 {
	w.Helper()
	counts := w.batches()
	cells := map[cell]int64{}
	for _, key := range w.keys(root + "minutes/") {
		if !strings.HasSuffix(key, ".parquet") {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimPrefix(path.Base(path.Dir(key)), "batch="), 10, 64)
		if err != nil || !slices.Contains(counts, n) {
			w.Logf("%s is of no batch that counts", key)
			continue
		}
		b := w.object(key)
		rows, err := parquet.Read[minuteRow](bytes.NewReader(b), int64(len(b)))
		if err != nil {
			w.Fatalf("%s: %v", key, err)
		}
		for _, r := range rows {
			cells[cell{r.Minute.UTC(), r.Market, r.Track}] += r.Plays
		}
	}
	return cells
}

// told holds the manifests to what was counted.
func (w *world) told(plays int64, unreadable int) {
	w.Helper()
	var got struct{ Plays, Late, Unreadable int64 }
	for _, n := range w.batches() {
		var m struct{ Plays, Late, Unreadable int64 }
		if err := json.Unmarshal(w.object(fmt.Sprintf("%smanifest/%019d.json", root, n)), &m); err != nil {
			w.Fatal(err)
		}
		got.Plays, got.Late, got.Unreadable = got.Plays+m.Plays, got.Late+m.Late, got.Unreadable+m.Unreadable
	}
	w.Logf("%d batches: %+v", len(w.batches()), got)
	if got.Plays != plays || got.Unreadable != int64(unreadable) || got.Late == 0 {
		w.Errorf("manifests tell of %+v, there were %d plays and %d unreadable", got, plays, unreadable)
	}
}

// entry is one place of a chart.
type entry struct {
	Track string
	Plays int64
}

// chartsOf are those of the cells: by "period/start/market".
func chartsOf(cells map[cell]int64) map[string][]entry {
	totals := map[string]map[string]int64{}
	for c, n := range cells {
		for _, at := range []string{"hour/" + c.Minute.Format("20060102T15"), "day/" + c.Minute.Format("20060102")} {
			for _, market := range []string{c.Market, "*"} {
				if market == "" {
					continue
				}
				key := at + "/" + market
				if totals[key] == nil {
					totals[key] = map[string]int64{}
				}
				totals[key][c.Track] += n
			}
		}
	}
	out := map[string][]entry{}
	for key, tracks := range totals {
		var list []entry
		for track, n := range tracks {
			list = append(list, entry{track, n})
		}
		slices.SortFunc(list, func(a, b entry) int {
			if a.Plays != b.Plays {
				return int(b.Plays - a.Plays)
			}
			return strings.Compare(a.Track, b.Track)
		})
		out[key] = list[:min(50, len(list))]
	}
	return out
}

// charts are those that the stream published last.
func (w *world) charts() map[string][]entry {
	w.Helper()
	newest := map[string]string{}
	for _, key := range w.keys(root + "charts/") {
		newest[path.Dir(key)] = max(newest[path.Dir(key)], key)
	}
	out := map[string][]entry{}
	for _, key := range newest {
		var c struct {
			Period, Start string
			Markets       map[string][]entry
		}
		if err := json.Unmarshal(w.object(key), &c); err != nil {
			w.Fatal(err)
		}
		for market, list := range c.Markets {
			out[c.Period+"/"+c.Start+"/"+market] = list
		}
	}
	return out
}
