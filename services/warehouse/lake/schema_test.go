package lake_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
	"github.com/segue-music/segue/services/warehouse/storetest"
)

// goldenRows are what the files in testdata hold. They never change: a file of the lake is
// kept for ever.
func goldenRows() []warehouse.Row {
	var rows []warehouse.Row
	at := time.Date(2026, 3, 29, 1, 2, 3, 456_789, time.UTC)
	for i := range 5 {
		rows = append(rows, storetest.Row(int64(7+i), at.Add(time.Duration(i)*time.Second)))
	}
	rows[4].Envelope, rows[4].Raw, rows[4].PayloadJSON = nil, []byte("no event at all"), ""
	slices.SortStableFunc(rows, func(a, b warehouse.Row) int { return a.Time().Compare(b.Time()) })
	return rows
}

// column is a column as readers know it.
type column struct{ Name, Type string }

func columns(t *testing.T, raw []byte) (out []column) {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range f.Schema().Fields() {
		kind := field.Type().String()
		if field.Optional() {
			kind = "optional " + kind
		}
		out = append(out, column{field.Name(), kind})
	}
	return out
}

func golden(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden files, %v", err)
	}
	out := map[string][]byte{}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = raw
	}
	return out
}

const goldenFolder = "topic=user-identity-events/date=2026-03-29/hour=01/"

func readAll(t *testing.T, s *lake.Store, f warehouse.File) (rows []warehouse.Row) {
	t.Helper()
	for r, err := range s.Rows(t.Context(), f, warehouse.Hint{}) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

func sameRows(t *testing.T, what string, got []warehouse.Row) {
	t.Helper()
	want := goldenRows()
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if !proto.Equal(g.Envelope, w.Envelope) {
			t.Errorf("%s: row %d is %v, want %v", what, i, g.Envelope, w.Envelope)
		}
		g.Envelope, w.Envelope = nil, nil
		if diff := cmp.Diff(w, g); diff != "" {
			t.Errorf("%s: row %d (-want +got):\n%s", what, i, diff)
		}
	}
}

// TestSchema_OldFiles: today's code reads the files of every version that ever was.
func TestSchema_OldFiles(t *testing.T) {
	for name, raw := range golden(t) {
		b := local(t)
		if err := b.Put(t.Context(), "lake/"+goldenFolder+name, bytes.NewReader(raw), blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		s := open(t, b)
		files, err := s.Files(t.Context())
		if err != nil || len(files) != 1 || files[0].First != 7 || files[0].Next != 12 {
			t.Fatalf("%s: files %v, %v", name, files, err)
		}
		sameRows(t, name, readAll(t, s, files[0]))
	}
}

// TestSchema_OldReaders: what a reader of any earlier version, or a query that somebody
// saved, asks of a file is in today's files, under the same name and of the same type.
func TestSchema_OldReaders(t *testing.T) {
	b := local(t)
	rows := goldenRows()
	slices.SortFunc(rows, func(a, b warehouse.Row) int { return int(a.Offset - b.Offset) })
	f, err := open(t, b).Write(t.Context(), 7, rows)
	if err != nil {
		t.Fatal(err)
	}
	today := columns(t, contents(t, b, "lake/"+f.Name))
	for name, raw := range golden(t) {
		for _, c := range columns(t, raw) {
			if !slices.Contains(today, c) {
				t.Errorf("%s has the column %v, today's files have not", name, c)
			}
		}
	}
	raw := contents(t, b, "lake/"+f.Name)
	old, err := parquet.Read[recordV1](bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	want, err := parquet.Read[recordV1](bytes.NewReader(golden(t)[goldenV1]), int64(len(golden(t)[goldenV1])))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, old); diff != "" {
		t.Errorf("the reader of version 1 sees something else (-in its own files +in today's):\n%s", diff)
	}
}

// TestSchema_NewFiles: today's code reads a file of tomorrow, with columns that it does not
// know and without one that it does.
func TestSchema_NewFiles(t *testing.T) {
	v1, err := parquet.Read[recordV1](bytes.NewReader(golden(t)[goldenV1]), int64(len(golden(t)[goldenV1])))
	if err != nil {
		t.Fatal(err)
	}
	var tomorrow []recordNext
	for _, r := range v1 {
		tomorrow = append(tomorrow, recordNext{Country: "is", recordV1: r, Weight: 1.5})
	}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[recordNext](&buf, parquet.KeyValueMetadata("segue.first_offset", "7"), parquet.KeyValueMetadata("segue.next_offset", "12"),
		parquet.KeyValueMetadata("segue.oldest", "0"), parquet.KeyValueMetadata("segue.newest", "1"))
	if _, err := w.Write(tomorrow); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := local(t)
	if err := b.Put(t.Context(), "lake/"+goldenFolder+"p00000-0000000000000000007.parquet", &buf, blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	s := open(t, b)
	files, err := s.Files(t.Context())
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	sameRows(t, "tomorrow", readAll(t, s, files[0]))
}

const goldenV1 = "p00000-0000000000000000007-0000000000000000012-80064e1f40e5aef8-80064e1f48682149.parquet"

// recordV1 is how version 1 read a row, frozen.
type recordV1 struct {
	Topic           string `parquet:"topic,dict"`
	Partition       int32  `parquet:"partition"`
	Offset          int64  `parquet:"offset,delta"`
	LogTime         int64  `parquet:"log_time,timestamp(microsecond)"`
	Key             []byte `parquet:"key"`
	ID              string `parquet:"id"`
	Type            string `parquet:"type,dict"`
	Time            int64  `parquet:"time,timestamp(microsecond)"`
	TimeNanos       int32  `parquet:"time_nanos"`
	ClientTime      *int64 `parquet:"client_time,optional,timestamp(microsecond)"`
	ClientTimeNanos int32  `parquet:"client_time_nanos"`
	UserID          string `parquet:"user_id,dict"`
	ActorID         string `parquet:"actor_id,dict"`
	DeviceID        string `parquet:"device_id,dict"`
	SessionID       string `parquet:"session_id,dict"`
	TraceID         string `parquet:"trace_id"`
	Subject         string `parquet:"subject,dict"`
	Revision        uint64 `parquet:"revision"`
	SchemaVersion   uint32 `parquet:"schema_version"`
	Personal        []byte `parquet:"personal"`
	PersonalKeyID   string `parquet:"personal_key_id,dict"`
	PayloadType     string `parquet:"payload_type,dict"`
	Payload         []byte `parquet:"payload"`
	PayloadJSON     string `parquet:"payload_json"`
	Unknown         []byte `parquet:"unknown"`
}

// recordNext is a row of a version to come.
type recordNext struct {
	Country string `parquet:"country,dict"`
	recordV1
	Weight float64 `parquet:"weight,optional"`
}
