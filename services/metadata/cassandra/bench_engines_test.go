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

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
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
	benchPuts = 64 // at once, as of several processes of upload
	// benchByHand is up to how many tracks a catalogue is made by PutTrack in both engines;
	// a larger one is cast, and loaded from SQLite as an operator does.
	benchByHand = 20_000
	benchSample = 2000 // of things to read
	// benchSettle bounds the wait for the node's compaction.
	benchSettle = 10 * time.Minute
)

// BenchmarkCatalogue fills both engines and reads them through the service: what a page
// costs, and the CPU of this process and of the node. SEGUE_BENCH_TRACKS is the size,
// SEGUE_BENCH_CATALOGUE a metadata.db of so many that an earlier run has made.
func BenchmarkCatalogue(b *testing.B) {
	tracks := 10_000
	if n, err := strconv.Atoi(os.Getenv("SEGUE_BENCH_TRACKS")); err == nil {
		tracks = n
	}
	path := filepath.Join(b.TempDir(), "metadata.db")
	made := os.Getenv("SEGUE_BENCH_CATALOGUE")
	if made != "" {
		path = made
	}
	lite, err := sqlite.Open(b.Context(), path, sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = lite.Close() })
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		b.Logf("load average %s", bytes.TrimSpace(load))
	}
	r := start(b)
	var ring *cassandra.Store
	if tracks <= benchByHand && made == "" {
		ring = r.open(b, cassandra.Options{})
		b.Logf("sqlite: %d tracks by PutTrack, %s", tracks, benchLoad(b, lite, tracks))
		b.Logf("cassandra: %d tracks by PutTrack, %s", tracks, benchLoad(b, ring, tracks))
	} else {
		if made == "" {
			b.Logf("sqlite: %d tracks, an artist at a time, %s", tracks, benchCast(b, lite, tracks))
		}
		b.Logf("cassandra: %d tracks by Load, %s", tracks, benchCopy(b, r, lite, tracks))
		b.Logf("on disk: sqlite %d bytes a track, cassandra %d", folder(b, path+"*")/int64(tracks), folder(b, r.node.Tables()+"/t_metadata/*")/int64(tracks))
		ring = r.open(b, cassandra.Options{})
	}
	for _, e := range []struct {
		name  string
		store metadata.Store
	}{{"sqlite", lite}, {"cassandra", ring}} {
		for _, read := range benchReads(b, e.store, tracks) {
			b.Run(e.name+"/"+read.name, func(b *testing.B) { benchRead(b, read.do) })
		}
	}
}

func benchRead(b *testing.B, do func(ctx context.Context, n int) error) {
	b.Helper()
	var times []time.Duration
	r := rand.New(rand.NewPCG(1, 2))
	own, node := cpu(b)
	b.ResetTimer()
	for b.Loop() {
		began := time.Now()
		if err := do(b.Context(), r.IntN(benchSample)); err != nil {
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
}

// benchCast fills a store with casts of a mould.
func benchCast(b *testing.B, store metadata.Store, tracks int) string {
	b.Helper()
	m := newMould(b)
	return benchTimed(b, tracks, func() {
		var n atomic.Int64
		var wg sync.WaitGroup
		for range benchPuts { // their changes share commits
			wg.Go(func() {
				for i := int(n.Add(1)) - 1; i*artistTrack < tracks; i = int(n.Add(1)) - 1 {
					c := m.cast(i)
					if err := store.Change(b.Context(), func(context.Context, metadata.View) (*metadata.Change, error) { return c, nil }); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// benchCopy loads a catalogue, and waits until the node has put its files in order.
func benchCopy(b *testing.B, r *ring, from *sqlite.Store, tracks int) string {
	b.Helper()
	text := benchTimed(b, tracks, func() {
		err := from.Dump(b.Context(), func(d metadata.Dump) error {
			return cassandra.Load(b.Context(), r.config, d, cassandra.Options{Log: slog.New(slog.NewTextHandler(b.Output(), nil))})
		})
		if err != nil {
			b.Fatal(err)
		}
	})
	began := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for quiet := 0; quiet < 5 && time.Since(began) < benchSettle; {
		<-tick.C
		quiet++
		tasks := r.session.Query("SELECT task_id FROM system_views.sstable_tasks").Iter()
		if tasks.NumRows() > 0 {
			quiet = 0
		}
		if err := tasks.Close(); err != nil {
			b.Fatal(err)
		}
	}
	return fmt.Sprintf("%s, then compaction for %v", text, time.Since(began).Round(time.Second))
}

// folder is the bytes of all files of a pattern and below.
func folder(b *testing.B, pattern string) (n int64) {
	b.Helper()
	roots, err := filepath.Glob(pattern)
	if err != nil {
		b.Fatal(err)
	}
	for _, root := range roots {
		err := filepath.WalkDir(root, func(_ string, d os.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // a file that is compacted away meanwhile
			}
			if i, err := d.Info(); err == nil && i.Mode().IsRegular() {
				n += i.Size()
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return n
}

func benchTimed(b *testing.B, tracks int, fill func()) string {
	b.Helper()
	own, node := cpu(b)
	began := time.Now()
	fill()
	took := time.Since(began)
	own2, node2 := cpu(b)
	each := func(d time.Duration) time.Duration { return (d / time.Duration(tracks)).Round(time.Microsecond) }
	return fmt.Sprintf("%.0f a second, CPU per track %v here and %v of the node", float64(tracks)/took.Seconds(), each(own2-own), each(node2-node))
}

func benchLoad(b *testing.B, store metadata.Store, tracks int) string {
	b.Helper()
	client, _, _ := ingest(b, store, func() string { return id.New(time.Now(), crand.Reader).String() }, time.Now)
	var n, again atomic.Int64
	errs := make([]error, benchPuts)
	text := benchTimed(b, tracks, func() {
		var wg sync.WaitGroup
		for w := range benchPuts {
			wg.Go(func() {
				for i := int(n.Add(1)) - 1; i < tracks && errs[w] == nil; i = int(n.Add(1)) - 1 {
					_, err := client.PutTrack(b.Context(), benchFile(i))
					for tries := 0; err != nil && tries < 10; tries++ { // as upload does
						again.Add(1)
						_, err = client.PutTrack(b.Context(), benchFile(i))
					}
					errs[w] = err
				}
			})
		}
		wg.Wait()
	})
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	return fmt.Sprintf("%s, %d tried again", text, again.Load())
}

type pageRead struct {
	name string
	do   func(ctx context.Context, n int) error
}

// benchReads are what a listener's app asks the service for, of a sample of all tracks.
func benchReads(b *testing.B, store metadata.Store, tracks int) []pageRead {
	b.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	var sample []*metadatav1.Track
	for len(sample) < benchSample {
		var ids []string
		for range 100 {
			ids = append(ids, key("track", r.IntN(tracks)))
		}
		list, err := store.Tracks(b.Context(), ids)
		if err != nil {
			b.Fatal(err)
		}
		for _, t := range list {
			sample = append(sample, t.GetTrack())
		}
	}
	_, server, _ := ingest(b, store, func() string { return "" }, time.Now)
	who := identity.Identity{Target: "gateway", UserID: key("listener"), Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, Market: "DE", ExplicitAllowed: true}
	client := metadatav1connect.NewCatalogueServiceClient(server.As(who), rpctest.URL)
	errCount := func(what string, n int) error {
		if n == 0 {
			return fmt.Errorf("no %s", what)
		}
		return nil
	}
	return []pageRead{
		{"track", func(ctx context.Context, n int) error {
			out, err := client.GetTracks(ctx, &metadatav1.GetTracksRequest{Ids: []string{sample[n].GetId()}})
			return errors.Join(err, errCount("track", len(out.GetTracks())))
		}},
		{"album", func(ctx context.Context, n int) error {
			out, err := client.GetAlbum(ctx, &metadatav1.GetAlbumRequest{Id: sample[n].GetAlbumId()})
			return errors.Join(err, errCount("tracks", len(out.GetTracks())))
		}},
		{"artist", func(ctx context.Context, n int) error {
			out, err := client.GetArtist(ctx, &metadatav1.GetArtistRequest{Id: sample[n].GetCredits()[0].GetArtist().GetId()})
			return errors.Join(err, errCount("albums", len(out.GetAlbums())))
		}},
		{"list_50_albums", func(ctx context.Context, _ int) error {
			out, err := client.ListAlbums(ctx, &metadatav1.ListAlbumsRequest{Order: "title", PageSize: 50})
			return errors.Join(err, errCount("albums", len(out.GetAlbums())))
		}},
		{"list_50_artists", func(ctx context.Context, _ int) error {
			out, err := client.ListArtists(ctx, &metadatav1.ListArtistsRequest{PageSize: 50})
			return errors.Join(err, errCount("artists", len(out.GetArtists())))
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
