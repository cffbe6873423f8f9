//go:build bigquery

package bigquery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segue-music/segue/services/warehouse"
)

// emulator is a running bqemulator.
type emulator struct {
	*testing.T
	url, root string
}

func (b *emulator) of(t *testing.T) *emulator { return &emulator{t, b.url, b.root} }

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// start starts an emulator whose buckets are the folders of root; it ends with the test.
func start(t *testing.T, venv, root string) *emulator {
	t.Helper()
	rest, rpc := freePort(t), freePort(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "bqemulator"), "start", "--rest-port", rest, "--grpc-port", rpc,
		"--project", project, "--ephemeral", "--log-level", "warning")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(venv, "home"), "BQEMU_GCS_LOCAL_ROOT="+root)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	b := &emulator{t, "http://127.0.0.1:" + rest + "/bigquery/v2/projects/" + project, root}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		if res, err := http.Get(b.url + "/datasets"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return b
			}
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("the emulator ended: %v\n%s", err, out.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the emulator does not answer")
		}
	}
}

// call makes a request and returns its answer, which has no error.
func (b *emulator) call(method, path string, body any) map[string]any {
	b.Helper()
	in, err := json.Marshal(body)
	if err != nil {
		b.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.Context(), method, b.url+path, bytes.NewReader(in))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("%s %s: %d %v %s", method, path, res.StatusCode, err, raw)
	}
	status, _ := out["status"].(map[string]any)
	if out["errors"] != nil || status["errorResult"] != nil {
		b.Fatalf("%s %s: %v %v", method, path, out["errors"], status["errorResult"])
	}
	return out
}

// load runs the load jobs of a topic. The emulator knows no partitions by name, so that
// the days come one after the other, the first in the place of what was there.
func (b *emulator) load(out, topic string) {
	b.Helper()
	names, err := filepath.Glob(filepath.Join(out, topic, "*.load.json"))
	if err != nil || len(names) != 2 {
		b.Fatalf("load jobs %v, %v", names, err)
	}
	slices.Sort(names)
	for i, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		var job map[string]any
		if err := json.Unmarshal(raw, &job); err != nil {
			b.Fatal(err)
		}
		load := job["configuration"].(map[string]any)["load"].(map[string]any)
		table := load["destinationTable"].(map[string]any)
		day := strings.TrimSuffix(filepath.Base(name), ".load.json")
		plain, partition, ok := strings.Cut(table["tableId"].(string), "$")
		if !ok || partition != strings.ReplaceAll(day, "-", "") || load["writeDisposition"] != "WRITE_TRUNCATE" {
			b.Errorf("the job of %s replaces %v by %v", day, table["tableId"], load["writeDisposition"])
		}
		table["tableId"] = plain
		load["sourceUris"] = b.flat(load["sourceUris"].([]any))
		if i > 0 {
			load["writeDisposition"] = "WRITE_APPEND"
		}
		b.call("POST", "/jobs", job)
	}
}

// flat puts objects under names without folders: in those of the lake the emulator's engine
// sees columns, date=… and hour=…, which BigQuery does only where it is asked to.
func (b *emulator) flat(uris []any) (out []string) {
	b.Helper()
	for _, uri := range uris {
		name := strings.TrimPrefix(uri.(string), "gs://")
		flat := "flat/" + strings.NewReplacer("/", "_", "=", "_").Replace(name)
		if err := os.MkdirAll(filepath.Join(b.root, "flat"), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.Link(filepath.Join(b.root, name), filepath.Join(b.root, flat)); err != nil {
			b.Fatalf("the job names %s: %v", uri, err)
		}
		out = append(out, "gs://"+flat)
	}
	return out
}

// run runs a statement that gives no rows.
func (b *emulator) run(sql string) map[string]any {
	b.Helper()
	return b.call("POST", "/queries", map[string]any{"query": sql, "useLegacySql": false, "maxResults": 10_000})
}

// query gives the rows of a query, of which there is at least one.
func (b *emulator) query(sql string) (rows [][]string) {
	b.Helper()
	list, _ := b.run(sql)["rows"].([]any)
	for _, r := range list {
		var row []string
		for _, f := range r.(map[string]any)["f"].([]any) {
			row = append(row, fmt.Sprint(f.(map[string]any)["v"]))
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		b.Fatalf("no rows: %s", sql)
	}
	return rows
}

// cells are the lake's rows as the query of the test gives them.
func cells(rows []warehouse.Row) (out [][]string) {
	for _, r := range rows {
		e := r.Envelope
		payload, at := r.Raw, r.LogTime
		if e != nil {
			payload, at = e.GetPayload().GetValue(), e.GetTime().AsTime()
		}
		out = append(out, []string{
			fmt.Sprint(r.Partition), fmt.Sprint(r.Offset), e.GetId(), e.GetType(), e.GetUserId(), e.GetSubject(), fmt.Sprint(e.GetRevision()), r.PayloadJSON,
			fmt.Sprint(at.UnixMicro()), fmt.Sprint(r.LogTime.UnixMicro()), base64.StdEncoding.EncodeToString(payload), fmt.Sprint(e.GetClientTime() == nil),
		})
	}
	return out
}
