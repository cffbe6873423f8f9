//go:build linux

package lake_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/lake"
	"github.com/segue-music/segue/stream/id"
)

// plays are so many tracks played within an hour on one partition: listeners and tracks by
// Zipf's law, ids as ours are.
func plays(n int) []warehouse.Row {
	rng := rand.New(rand.NewPCG(1, 2))
	source := rand.NewChaCha8([32]byte{1})
	hour := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	newID := func(at time.Time) string { return id.New(at, source).String() }
	pool := func(n int) (ids []string) {
		for range n {
			ids = append(ids, newID(hour.Add(-time.Duration(rng.Int64N(int64(5*365*24*time.Hour))))))
		}
		return ids
	}
	users, tracks, sessions := pool(20_000), pool(50_000), map[int]string{}
	user, track := rand.NewZipf(rng, 1.05, 50, 19_999), rand.NewZipf(rng, 1.05, 20, 49_999)
	out := make([]warehouse.Row, n)
	for i := range out {
		at := hour.Add(time.Duration(i) * time.Hour / time.Duration(n))
		u, length := int(user.Uint64()), uint64(120_000+rng.IntN(240_000))
		if sessions[u] == "" || rng.IntN(50) == 0 {
			sessions[u] = newID(at)
		}
		heard, end, skipped := length, "track_done", rng.IntN(3) == 0
		if skipped {
			heard, end = 30_000+uint64(rng.IntN(int(length-30_000))), "skip"
		}
		play := &eventv1.TrackPlayed{
			PlayId: newID(at.Add(-time.Duration(heard) * time.Millisecond)), TrackId: tracks[track.Uint64()],
			Started: timestamppb.New(at.Add(-time.Duration(heard) * time.Millisecond).Truncate(time.Millisecond)), HeardMs: heard, TrackMs: length,
			ReasonStart: "track_done", ReasonEnd: end, Skipped: skipped, QualityKbps: 160,
		}
		payload, err := anypb.New(play)
		if err != nil {
			panic(err) // a message of ours always packs
		}
		text, err := protojson.Marshal(payload)
		if err != nil {
			panic(err)
		}
		out[i] = warehouse.Row{
			Topic: event.TrackPlayed, Offset: int64(i), LogTime: at.Truncate(time.Millisecond), Key: []byte(users[u]), PayloadJSON: strings.ReplaceAll(string(text), `", "`, `","`),
			Envelope: &eventv1.Envelope{
				Id: newID(at), Type: "TrackPlayed", Time: timestamppb.New(at.Truncate(time.Microsecond)), UserId: users[u], ActorId: users[u], DeviceId: "d" + users[u][1:],
				SessionId: sessions[u], SchemaVersion: 1, Subject: "play:" + play.GetPlayId(), Revision: 1, Payload: payload,
			},
		}
	}
	return out
}

// BenchmarkWrite is what an event costs in the lake: of processor, and of bytes by column.
func BenchmarkWrite(b *testing.B) {
	const rows = 100_000
	blobs, err := localblob.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	s, err := lake.Open(context.Background(), blobs, lake.Options{})
	if err != nil {
		b.Fatal(err)
	}
	all := plays(rows)
	began := cpu(b)
	for b.Loop() {
		for i := 0; i < rows; i += rows / 4 {
			if _, err := s.Write(context.Background(), int64(i), all[i:i+rows/4]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(rows*b.N), "cpu-ns/event")
	if _, err := s.Compact(context.Background(), past); err != nil {
		b.Fatal(err)
	}
	files, err := s.Files(context.Background())
	if err != nil || len(files) != 1 {
		b.Fatal(files, err)
	}
	size(b, blobs, "lake/"+files[0].Name, rows)
	b.ReportMetric(trackColumn(b, all), "B/event-track")
}

// trackColumn is what the track's id would be as a column of its own; it is in the payload.
func trackColumn(b *testing.B, all []warehouse.Row) float64 {
	type row struct {
		Track string `parquet:"track_id,dict"`
	}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[row](&buf, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}), parquet.MaxRowsPerRowGroup(32768))
	for i := range all {
		var play eventv1.TrackPlayed
		if err := all[i].Envelope.GetPayload().UnmarshalTo(&play); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write([]row{{play.GetTrackId()}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return float64(buf.Len()) / float64(len(all))
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// size reports a file's bytes per event.
func size(b *testing.B, blobs blob.Store, key string, rows int) {
	obj, err := blobs.Open(context.Background(), key)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = obj.Close() }()
	f, err := parquet.OpenFile(obj, obj.Size())
	if err != nil {
		b.Fatal(err)
	}
	bytesOf, data := map[string]int64{}, int64(0)
	for _, g := range f.Metadata().RowGroups {
		for _, c := range g.Columns {
			bytesOf[strings.Join(c.MetaData.PathInSchema, ".")] += c.MetaData.TotalCompressedSize
			data += c.MetaData.TotalCompressedSize
		}
	}
	ids, named := []string{"id", "key", "user_id", "actor_id", "device_id", "session_id", "trace_id", "subject", "payload", "payload_json"}, int64(0)
	var lines bytes.Buffer
	for c, n := range bytesOf {
		if slices.Contains(ids, c) {
			named += n
		}
		fmt.Fprintf(&lines, "%s=%.2f ", c, float64(n)/float64(rows))
	}
	per := func(n int64) float64 { return float64(n) / float64(rows) }
	b.ReportMetric(per(obj.Size()), "B/event")
	b.ReportMetric(per(data-named), "B/event-without-ids")
	b.ReportMetric(per(obj.Size()-data), "B/event-filters")
	b.Log(lines.String())
}
