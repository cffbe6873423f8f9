//go:build bigquery

package bigquery

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
)

const (
	project = "segue-test"
	dataset = "lake"
	// Rows of a topic and partition: of two hours, in two files each.
	each, partitions = 30, 2
)

var began = time.Date(2026, 3, 29, 22, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// TestLoad: every topic of the lake comes into BigQuery by its load jobs, row by row. The
// emulator answers a query that fails with no rows and no error, so nothing here is content
// with a query that did not complain.
func TestLoad(t *testing.T) {
	cache := os.Getenv("SEGUE_TEST_BIGQUERY")
	if cache == "" {
		t.Fatal("SEGUE_TEST_BIGQUERY is not set; make test-bigquery sets it")
	}
	venv, dir := filepath.Join(cache, "venv"), t.TempDir()
	want := fill(t, dir)

	jobs, err := filepath.Abs("../../jobs")
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	// The emulator takes gs://X for a folder X of its own, which the lake's folder is.
	gen := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "python"), "-m", "segue_jobs.bigquery",
		"--lake", "file://"+filepath.Join(dir, "objects", "lake"), "--uri", "gs://objects/lake", "--project", project, "--dataset", dataset, "--out", out)
	gen.Env = append(os.Environ(), "PYTHONPATH="+jobs, "PYTHONDONTWRITEBYTECODE=1")
	if b, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("generate: %v\n%s", err, b)
	}
	b := start(t, venv, dir)
	b.call("POST", "/datasets", map[string]any{"datasetReference": map[string]string{"projectId": project, "datasetId": dataset}})
	for topic, rows := range want {
		t.Run(topic, func(t *testing.T) {
			b := b.of(t)
			table := project + "." + dataset + "." + strings.ReplaceAll(topic, "-", "_")
			b.load(out, topic)
			got := b.query("SELECT `partition`, `offset`, id, type, user_id, subject, revision, payload_json, UNIX_MICROS(time), UNIX_MICROS(log_time)," +
				" TO_BASE64(payload), client_time IS NULL FROM `" + table + "` ORDER BY `partition`, `offset`")
			if diff := cmp.Diff(cells(rows), got); diff != "" {
				t.Errorf("rows (-lake +BigQuery):\n%s", diff[:min(len(diff), 3000)])
			}
			ddl, err := os.ReadFile(filepath.Join(out, topic, "view.sql"))
			if err != nil {
				t.Fatal(err)
			}
			b.run(string(ddl))
			once := b.query("SELECT CAST(COUNT(*) AS STRING), CAST(COUNT(DISTINCT id) AS STRING) FROM `" + table + "_events`")
			n := fmt.Sprint(events(rows))
			if diff := cmp.Diff([][]string{{n, n}}, once); diff != "" {
				t.Errorf("events, each once (-lake +BigQuery):\n%s", diff)
			}
		})
	}
}

// fill writes rows of every topic into a lake below dir, merges the first hour, and
// returns them in the order of the log.
func fill(t *testing.T, dir string) map[string][]warehouse.Row {
	t.Helper()
	blobs, err := localblob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	store, err := lake.Open(t.Context(), blobs, lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]warehouse.Row{}
	for _, topic := range event.Topics() {
		for p := range int32(partitions) {
			var part []warehouse.Row
			for i := range int64(each) {
				part = append(part, row(t, topic.Name, p, i))
			}
			for _, cut := range [][2]int{{0, 7}, {7, 15}, {15, 20}, {20, 30}} {
				if _, err := store.Write(t.Context(), int64(cut[0]), part[cut[0]:cut[1]]); err != nil {
					t.Fatal(err)
				}
			}
			all[topic.Name] = append(all[topic.Name], part...)
		}
	}
	n, err := store.Compact(t.Context(), func(_ string, hour time.Time) bool { return hour.Equal(began) })
	if err != nil || n != len(all) {
		t.Fatalf("merged %d hours: %v", n, err)
	}
	return all
}

// row is a record. In each hour one is no event, and one is the event of another once more.
func row(t *testing.T, topic string, partition int32, i int64) warehouse.Row {
	t.Helper()
	at := began.Add(time.Duration(i/15)*2*time.Hour + time.Duration(i)*time.Second + 123_456*time.Microsecond) // the second hour is the next day's
	r := warehouse.Row{Topic: topic, Partition: partition, Offset: i, LogTime: at, Key: []byte("k")}
	if i%15 == 5 {
		r.Raw = []byte{0xff, 0}
		return r
	}
	n := i
	if i%15 == 6 {
		n -= 2
	}
	e, err := event.New(fmt.Sprintf("%03d%019d", partition, n), at.Add(-time.Minute), "track:ö", uint64(n+1), &eventv1.TrackPlayed{TrackId: fmt.Sprint(n), HeardMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	e.UserId = fmt.Sprint("user-", n)
	if n%2 == 0 {
		e.ClientTime = timestamppb.New(at)
	}
	r.Envelope, r.PayloadJSON = e, `{"heardMs":"1"}`
	return r
}

func events(rows []warehouse.Row) int {
	ids := map[string]bool{}
	for _, r := range rows {
		if r.Envelope != nil {
			ids[r.Envelope.GetId()] = true
		}
	}
	return len(ids)
}
