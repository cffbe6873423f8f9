package lake_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"gocloud.dev/blob/memblob"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
	"github.com/segue-music/segue/services/warehouse/storetest"
)

func local(t *testing.T) blob.Store {
	t.Helper()
	s, err := localblob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func cloud(t *testing.T) blob.Store {
	t.Helper()
	s := cloudblob.New(memblob.OpenBucket(nil))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func open(t *testing.T, b blob.Store) *lake.Store {
	t.Helper()
	s, err := lake.Open(t.Context(), b, lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLake_Suite(t *testing.T) {
	for name, blobs := range map[string]func(*testing.T) blob.Store{"local": local, "cloud": cloud} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) func() warehouse.Store {
				b := blobs(t)
				return func() warehouse.Store { return open(t, b) }
			})
		})
	}
}

// plainRow is what any other reader of the files sees.
type plainRow struct {
	Topic       string    `parquet:"topic"`
	Offset      int64     `parquet:"offset"`
	ID          string    `parquet:"id"`
	Type        string    `parquet:"type"`
	Time        time.Time `parquet:"time,timestamp(microsecond)"`
	UserID      string    `parquet:"user_id"`
	Payload     []byte    `parquet:"payload"`
	PayloadJSON string    `parquet:"payload_json"`
}

func TestLake_PlainParquet(t *testing.T) {
	b := local(t)
	at := time.Date(2026, 3, 29, 1, 2, 3, 456_000, time.UTC)
	f, err := open(t, b).Write(t.Context(), 7, []warehouse.Row{storetest.Row(7, at)})
	if err != nil {
		t.Fatal(err)
	}
	raw := contents(t, b, "lake/"+f.Name)
	rows, err := parquet.Read[plainRow](bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	r := rows[0]
	if r.Topic != "user-identity-events" || r.Offset != 7 || r.Type != "LoggedIn" || !r.Time.Equal(at) || r.UserID != "u1" || len(r.Payload) == 0 || r.PayloadJSON == "" {
		t.Errorf("%+v", r)
	}
	file, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	meta := file.Metadata()
	if got := meta.RowGroups[0].Columns[0].MetaData.Codec.String(); got != "ZSTD" {
		t.Errorf("codec %s", got)
	}
	if v, ok := file.Lookup("segue.first_offset"); !ok || v != "7" {
		t.Errorf("first offset %q", v)
	}
}

func contents(t *testing.T, b blob.Store, key string) []byte {
	t.Helper()
	r, err := b.ReadRange(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestLake_Damage: no damage to a file makes rows up or ends the process.
func TestLake_Damage(t *testing.T) {
	b := local(t)
	rows := []warehouse.Row{storetest.Row(0, time.Unix(1, 0)), storetest.Row(1, time.Unix(2, 0)), storetest.Row(2, time.Unix(3, 0))}
	f, err := open(t, b).Write(t.Context(), 0, rows)
	if err != nil {
		t.Fatal(err)
	}
	raw := contents(t, b, "lake/"+f.Name)
	for i := 0; i < len(raw); i += 1 + len(raw)/150 {
		for name, bad := range map[string][]byte{"cut": raw[:i], "flipped": flip(raw, i)} {
			if err := b.Put(t.Context(), "lake/"+f.Name, bytes.NewReader(bad), blob.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, err := range open(t, b).Rows(t.Context(), f, warehouse.Hint{}) {
				if err != nil {
					break
				}
				n++
			}
			if n > len(rows) || name == "cut" && n > 0 {
				t.Errorf("%s at %d: %d rows", name, i, n)
			}
		}
	}
}

func flip(b []byte, i int) []byte {
	out := bytes.Clone(b)
	out[i] ^= 0x55
	return out
}

// TestLake_ForeignFiles: what others put beside our files is not ours to read.
func TestLake_ForeignFiles(t *testing.T) {
	b := cloud(t)
	for _, key := range []string{"lake/_SUCCESS", "lake/topic=a/date=b/hour=c/part-0.parquet", "lake/topic=a/date=b/hour=c/p1-2-1-0-0.parquet", "other/x"} {
		if err := b.Put(t.Context(), key, bytes.NewReader([]byte("x")), blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := open(t, b).Files(t.Context())
	if err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
}

// TestLake_Skips: what a hint rules out costs no rows.
func TestLake_Skips(t *testing.T) {
	s := open(t, cloud(t))
	var rows []warehouse.Row
	at := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	for i := range 20_000 {
		rows = append(rows, storetest.Row(int64(i), at.Add(time.Duration(i)*time.Second)))
	}
	f, err := s.Write(t.Context(), 0, rows)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		hint warehouse.Hint
		most int
	}{
		"no_such_subject":    {warehouse.Hint{Subject: "track:none"}, 0},
		"no_such_user":       {warehouse.Hint{Subject: "user:none", UserID: "none"}, 0},
		"no_such_actor":      {warehouse.Hint{ActorID: "none"}, 0},
		"no_such_trace":      {warehouse.Hint{TraceID: strings.Repeat("cd", 16)}, 0},
		"before":             {warehouse.Hint{To: at}, 0},
		"after":              {warehouse.Hint{From: at.Add(time.Hour * 24)}, 0},
		"one_group_of_three": {warehouse.Hint{From: at.Add(10_000 * time.Second), To: at.Add(10_001 * time.Second)}, 8192},
	} {
		n := 0
		for _, err := range s.Rows(t.Context(), f, c.hint) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n > c.most {
			t.Errorf("%s: %d rows", name, n)
		}
	}
}
