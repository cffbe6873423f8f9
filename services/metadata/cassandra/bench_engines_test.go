//go:build engines

package cassandra_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/services/metadata/cassandra"
	"github.com/segue-music/segue/services/metadata/sqlite"
	"github.com/segue-music/segue/stream/id"
)

// noBlobs is what the service has of artwork here.
type noBlobs struct{ blob.Store }

const (
	benchAlbum  = 12 // tracks
	benchArtist = 4  // albums
	benchPuts   = 64 // at once, as of several processes of upload
)

func benchFile(i int) *metadatav1.PutTrackRequest {
	album := i / benchAlbum
	artist := album / benchArtist
	return &metadatav1.PutTrackRequest{
		TrackId: key("track", i), OwnerId: key("owner"), DurationMs: 200_000, FileName: fmt.Sprintf("%02d.flac", i%benchAlbum+1),
		Tags: &metadatav1.FileTags{
			Title: fmt.Sprintf("Track %d", i), Artists: []string{fmt.Sprintf("Artist %d", artist)},
			AlbumArtists: []string{fmt.Sprintf("Artist %d", artist)}, Album: fmt.Sprintf("Album %d", album),
			Number: uint32(i%benchAlbum + 1), Disc: 1, Date: fmt.Sprint(1960 + album%60), Genres: []string{"Rock", "Pop"},
			Explicit: i%5 == 0, FolderKey: fmt.Sprint("folder ", album),
		},
	}
}

// BenchmarkCatalogue loads a catalogue into both engines the way that the service does, by
// PutTrack, and reads it: what a page costs, and the CPU of this process and of the node.
// SEGUE_BENCH_TRACKS is its size.
func BenchmarkCatalogue(b *testing.B) {
	tracks := 10_000
	if n, err := strconv.Atoi(os.Getenv("SEGUE_BENCH_TRACKS")); err == nil {
		tracks = n
	}
	lite, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "metadata.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = lite.Close() })
	engines := []struct {
		name  string
		store metadata.Store
	}{{"sqlite", lite}, {"cassandra", start(b).open(b, cassandra.Options{})}}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		b.Logf("load average %s", bytes.TrimSpace(load))
	}
	for _, e := range engines {
		loaded := benchLoad(b, e.store, tracks)
		for _, read := range benchReads() {
			b.Run(e.name+"/"+read.name, func(b *testing.B) {
				var times []time.Duration
				r := rand.New(rand.NewPCG(1, 2))
				own, node := cpu(b)
				b.ResetTimer()
				for b.Loop() {
					began := time.Now()
					if err := read.do(b.Context(), e.store, r.IntN(tracks)); err != nil {
						b.Fatal(err)
					}
					times = append(times, time.Since(began))
				}
				b.StopTimer()
				own2, node2 := cpu(b)
				slices.Sort(times)
				ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
				b.ReportMetric(ms(times[len(times)/2]), "p50-ms")
				b.ReportMetric(ms(times[len(times)*99/100]), "p99-ms")
				b.ReportMetric(ms(own2-own)/float64(len(times)), "cpu-ms/op")
				b.ReportMetric(ms(node2-node)/float64(len(times)), "node-cpu-ms/op")
			})
		}
		b.Logf("%s: %d tracks loaded, %s", e.name, tracks, loaded)
	}
}

func benchLoad(b *testing.B, store metadata.Store, tracks int) string {
	b.Helper()
	svc, err := metadata.New(metadata.Deps{
		Store: store, Blobs: noBlobs{}, Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: func() string { return id.New(time.Now(), crand.Reader).String() },
	})
	if err != nil {
		b.Fatal(err)
	}
	ingest := metadatav1connect.NewIngestServiceClient(rpctest.New(b, svc.Handler).As(identity.Identity{Target: "upload"}), rpctest.URL)
	own, node := cpu(b)
	began := time.Now()
	var n, again atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, benchPuts)
	for w := range benchPuts {
		wg.Go(func() {
			for i := int(n.Add(1)) - 1; i < tracks && errs[w] == nil; i = int(n.Add(1)) - 1 {
				_, err := ingest.PutTrack(b.Context(), benchFile(i))
				for tries := 0; err != nil && tries < 10; tries++ { // as upload does
					again.Add(1)
					_, err = ingest.PutTrack(b.Context(), benchFile(i))
				}
				errs[w] = err
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	own2, node2 := cpu(b)
	each := func(d time.Duration) time.Duration { return (d / time.Duration(tracks)).Round(time.Microsecond) }
	return fmt.Sprintf("%.0f a second, CPU per track %v here and %v of the node, %d tried again", float64(tracks)/took.Seconds(), each(own2-own), each(node2-node), again.Load())
}

type benchRead struct {
	name string
	do   func(ctx context.Context, s metadata.Store, track int) error
}

func benchReads() []benchRead {
	all := metadata.Viewer{All: true}
	found := func(ctx context.Context, s metadata.Store, track int) (*metadatav1.Track, error) {
		list, err := s.Tracks(ctx, []string{key("track", track)})
		if err != nil || len(list) != 1 {
			return nil, fmt.Errorf("%d tracks: %w", len(list), err)
		}
		return list[0].GetTrack(), nil
	}
	return []benchRead{
		{"track", func(ctx context.Context, s metadata.Store, track int) error {
			_, err := found(ctx, s, track)
			return err
		}},
		{"album", func(ctx context.Context, s metadata.Store, track int) error { // with the read of the track
			t, err := found(ctx, s, track)
			if err != nil {
				return err
			}
			_, err1 := s.Album(ctx, t.GetAlbumId())
			_, err2 := s.AlbumTracks(ctx, t.GetAlbumId())
			return errors.Join(err1, err2)
		}},
		{"artist", func(ctx context.Context, s metadata.Store, track int) error { // with the read of the track
			t, err := found(ctx, s, track)
			if err != nil {
				return err
			}
			artist := t.GetCredits()[0].GetArtist().GetId()
			_, err1 := s.Artist(ctx, artist)
			_, _, err2 := s.ArtistAlbums(ctx, artist, all, 500)
			_, err3 := s.CountArtistAlbums(ctx, []string{artist}, all)
			return errors.Join(err1, err2, err3)
		}},
		{"list_50_albums", func(ctx context.Context, s metadata.Store, _ int) error {
			_, err := s.ListAlbums(ctx, metadata.AlbumQuery{Viewer: all, Order: metadata.OrderTitle, Limit: 50})
			return err
		}},
	}
}

// cpu is that of this process and of its children, so far.
func cpu(b *testing.B) (own, children time.Duration) {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// After the name: state, parent, ...; user and system time are the 12th and 13th, in 10 ms.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 13 || string(fields[1]) != strconv.Itoa(os.Getpid()) {
			continue
		}
		for _, f := range fields[11:13] {
			ticks, err := strconv.Atoi(string(f))
			if err != nil {
				b.Fatal(err)
			}
			children += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), children
}
