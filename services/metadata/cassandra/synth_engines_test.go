//go:build engines

package cassandra_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"

	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/services/metadata/sqlite"
	"github.com/segue-music/segue/stream/id"
)

const (
	benchAlbum  = 12 // tracks
	benchArtist = 4  // albums
	artistTrack = benchAlbum * benchArtist
)

func benchFile(i int) *metadatav1.PutTrackRequest {
	album := i / benchAlbum
	artist := album / benchArtist
	return &metadatav1.PutTrackRequest{
		TrackId: key("track", i), OwnerId: key("owner"), DurationMs: 200_000, FileName: fmt.Sprintf("%02d.flac", i%benchAlbum+1),
		Tags: &metadatav1.FileTags{
			Title: benchTitle(i), Artists: []string{benchName(artist)}, AlbumArtists: []string{benchName(artist)}, Album: benchAlbumTitle(album),
			Number: uint32(i%benchAlbum + 1), Disc: 1, Date: fmt.Sprint(1960 + album%60), Genres: []string{"Rock", "Pop"},
			Explicit: i%5 == 0, FolderKey: fmt.Sprint("folder ", album),
		},
	}
}

func benchTitle(i int) string      { return words("title", i, 3) }
func benchAlbumTitle(i int) string { return words("album", i, 2) }
func benchName(i int) string       { return words("artist", i, 2) + fmt.Sprint(" ", i) }

// words are made of syllables, so that what they begin with is spread as in a language.
func words(of string, i, most int) string {
	const first, middle, last = "b c d f g h j k l m n p r s t v w br ch cl dr fl gr pl sh sl st th tr", "a e i o u ai ea oo ou y", "n r s t l nd ng st ck m "
	r := rand.New(rand.NewPCG(uint64(i), uint64(len(of))))
	pick := func(s string) string { list := strings.Split(s, " "); return list[r.IntN(len(list))] }
	var out []string
	for range 1 + r.IntN(most) {
		w := ""
		for range 1 + r.IntN(3) {
			w += pick(first) + pick(middle) + pick(last)
		}
		out = append(out, strings.ToUpper(w[:1])+w[1:])
	}
	return strings.Join(out, " ")
}

// ingest is the service on a store, as upload sees it.
func ingest(tb testing.TB, store metadata.Store, newID func() string, now func() time.Time) (metadatav1connect.IngestServiceClient, *rpctest.Server, *metadata.Service) {
	tb.Helper()
	svc, err := metadata.New(metadata.Deps{
		Store: store, Blobs: noBlobs{}, Log: slog.New(slog.DiscardHandler), Now: now, NewID: newID, Config: metadata.Config{SpreadDelay: time.Second},
	})
	if err != nil {
		tb.Fatal(err)
	}
	server := rpctest.New(tb, svc.Handler)
	return metadatav1connect.NewIngestServiceClient(server.As(identity.Identity{Target: "upload"}), rpctest.URL), server, svc
}

func rendition(track, n int) *metadatav1.Rendition {
	kbps := []uint32{24, 96, 160, 320}[n]
	return &metadatav1.Rendition{
		Kbps: kbps, ObjectId: objectID(track, n), Codec: "vorbis", SampleRate: 44100, Channels: 2, TotalSamples: 44100 * 200, Bytes: uint64(kbps) * 25_000,
	}
}

func objectID(track, n int) string {
	sum := sha256.Sum256(fmt.Append(nil, "object ", track, n))
	return hex.EncodeToString(sum[:16])
}

// mould is what the service leaves of one artist, of whose kind a catalogue of any size is
// made.
type mould struct {
	artist  *metadatav1.ArtistRecord
	members []*metadatav1.ArtistMember
	albums  []*metadatav1.AlbumRecord
	parts   map[string][]*metadatav1.AlbumMember
	tracks  []*metadatav1.TrackRecord
	claims  []metadata.Claim
}

// newMould puts the first artist's files, with four renditions each.
func newMould(tb testing.TB) *mould {
	tb.Helper()
	ctx := tb.Context()
	s, err := sqlite.Open(ctx, filepath.Join(tb.TempDir(), "mould.db"), sqlite.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	n := 0
	client, _, svc := ingest(tb, s, func() string { n++; return key("made", n) }, time.Now)
	for i := range artistTrack {
		if _, err := client.PutTrack(ctx, benchFile(i)); err != nil {
			tb.Fatal(err)
		}
		_, err := client.SetTrackFacts(ctx, &metadatav1.SetTrackFactsRequest{TrackId: key("track", i), DurationMs: 200_000, GainTrackQ8: -700, PeakQ8: -20})
		if err != nil {
			tb.Fatal(err)
		}
		for q := range 4 {
			_, err := client.PublishRendition(ctx, &metadatav1.PublishRenditionRequest{TrackId: key("track", i), Rendition: rendition(i, q)})
			if err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := svc.Spread(ctx); err != nil {
		tb.Fatal(err)
	}
	m := &mould{parts: map[string][]*metadatav1.AlbumMember{}}
	err = s.Dump(ctx, func(d metadata.Dump) error {
		for a, err := range d.Artists(ctx) {
			if err != nil {
				return err
			}
			m.artist = a
		}
		m.members = all(tb, d.ArtistMembers(ctx, m.artist.GetArtist().GetId()))
		m.albums, m.tracks, m.claims = all(tb, d.Albums(ctx)), all(tb, d.Tracks(ctx)), all(tb, d.Claims(ctx))
		for _, a := range m.albums {
			m.parts[a.GetAlbum().GetId()] = all(tb, d.AlbumMembers(ctx, a.GetAlbum().GetId()))
		}
		return nil
	})
	if err != nil || len(m.albums) != benchArtist || len(m.tracks) != artistTrack {
		tb.Fatalf("%d albums, %d tracks: %v", len(m.albums), len(m.tracks), err)
	}
	return m
}

// cast makes the nth artist: the mould with other names and ids.
func (m *mould) cast(n int) *metadata.Change {
	swap := map[string]string{
		m.artist.GetArtist().GetId():   key("artist", n),
		m.artist.GetArtist().GetName(): benchName(n),
		m.artist.GetSortName():         sortKey(benchName(n)),
	}
	number := map[string]int{} // of the track in the mould
	for i := range artistTrack {
		number[key("track", i)] = i
		swap[key("track", i)] = key("track", n*artistTrack+i)
		swap[benchTitle(i)] = benchTitle(n*artistTrack + i)
		for q := range 4 {
			swap[objectID(i, q)] = objectID(n*artistTrack+i, q)
		}
	}
	for _, a := range m.albums {
		i := number[m.parts[a.GetAlbum().GetId()][0].GetTrackId()]/benchAlbum + n*benchArtist
		swap[a.GetAlbum().GetId()] = key("album", i)
		swap[a.GetAlbum().GetTitle()], swap[a.GetSortTitle()] = benchAlbumTitle(i), sortKey(benchAlbumTitle(i))
	}
	artist := metadata.ArtistChange{After: recast(m.artist, swap)}
	for _, r := range m.members {
		artist.Put = append(artist.Put, recast(r, swap))
	}
	c := &metadata.Change{}
	for _, a := range m.albums {
		album := metadata.AlbumChange{After: recast(a, swap)}
		album.After.Album.AddedUnixMs += int64(n) * 1000
		artist.Link = append(artist.Link, album.After.GetAlbum().GetId())
		for _, r := range m.parts[a.GetAlbum().GetId()] {
			album.Put = append(album.Put, recast(r, swap))
		}
		c.Albums = append(c.Albums, album)
	}
	c.Artists = []metadata.ArtistChange{artist}
	for _, r := range m.tracks {
		t := recast(r, swap)
		t.Track.AddedUnixMs += int64(n) * 1000
		request := sha256.Sum256([]byte(t.GetTrack().GetId()))
		t.Request = request[:]
		c.Tracks = append(c.Tracks, metadata.TrackChange{After: t})
	}
	for _, cl := range m.claims {
		c.Claims = append(c.Claims, metadata.Claim{Key: key(cl.Key, n), ID: swap[cl.ID]})
	}
	return c
}

func sortKey(s string) string { return metadata.TrackSortKey(&metadatav1.Track{Title: s}) }

// recast is a copy with other texts.
func recast[T proto.Message](m T, swap map[string]string) T {
	m = proto.CloneOf(m)
	exchange(m.ProtoReflect(), swap)
	return m
}

func exchange(m protoreflect.Message, swap map[string]string) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				exchange(v.List().Get(i).Message(), swap)
			}
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			for i := range v.List().Len() {
				if to, ok := swap[v.List().Get(i).String()]; ok {
					v.List().Set(i, protoreflect.ValueOfString(to))
				}
			}
		case f.IsList() || f.IsMap():
		case f.Kind() == protoreflect.MessageKind:
			exchange(v.Message(), swap)
		case f.Kind() == protoreflect.StringKind:
			if to, ok := swap[v.String()]; ok {
				m.Set(f, protoreflect.ValueOfString(to))
			}
		}
		return true
	})
}

func all[T any](tb testing.TB, seq func(func(T, error) bool)) (out []T) {
	tb.Helper()
	for v, err := range seq {
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// newIDs are ids in one order, for two catalogues that are to be the same.
func newIDs(of string) func() string {
	n := 0
	return func() string { n++; return id.Derive(of, fmt.Sprint(n)).String() }
}
