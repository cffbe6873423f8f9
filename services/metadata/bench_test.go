package metadata_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

func fileOf(i int) *metadatav1.PutTrackRequest {
	album := i / 12
	artist := album / 4
	return &metadatav1.PutTrackRequest{
		TrackId: ident(fmt.Sprint("track ", i)), OwnerId: owner, DurationMs: 200_000, FileName: fmt.Sprintf("%02d.flac", i%12+1),
		Tags: &metadatav1.FileTags{
			Title: fmt.Sprintf("Track %d", i), Artists: []string{fmt.Sprintf("Artist %d", artist)},
			AlbumArtists: []string{fmt.Sprintf("Artist %d", artist)}, Album: fmt.Sprintf("Album %d", album),
			Number: uint32(i%12 + 1), Disc: 1, Date: fmt.Sprint(1960 + album%60), Genres: []string{"Rock", "Pop"},
			Explicit: i%5 == 0, FolderKey: fmt.Sprint("folder ", album),
		},
	}
}

// BenchmarkPutTrack puts the files of a growing catalogue, 64 at a time, as upload does.
func BenchmarkPutTrack(b *testing.B) {
	f := setUp(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.ingest.PutTrack(b.Context(), fileOf(int(n.Add(1)))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkCatalogue_20000 reads a catalogue of 20,000 tracks on 1,667 albums, where a
// fifth of the tracks is hidden from the listener.
func BenchmarkCatalogue_20000(b *testing.B) {
	f := setUp(b)
	var n atomic.Int64
	done := make(chan error)
	const workers, tracks = 16, 20_000
	for range workers {
		go func() {
			for {
				i := int(n.Add(1)) - 1
				if i >= tracks {
					done <- nil
					return
				}
				if _, err := f.ingest.PutTrack(b.Context(), fileOf(i)); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	who := listener()
	who.ExplicitAllowed = false
	c := f.as(who)
	first, err := c.ListAlbums(b.Context(), &metadatav1.ListAlbumsRequest{Order: "title"})
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		call func() error
	}{
		{"ListAlbums", func() error {
			_, err := c.ListAlbums(b.Context(), &metadatav1.ListAlbumsRequest{Order: "title"})
			return err
		}},
		{"ListAlbums_page_2", func() error {
			_, err := c.ListAlbums(b.Context(), &metadatav1.ListAlbumsRequest{Order: "title", PageToken: first.GetNextPageToken()})
			return err
		}},
		{"ListTracks", func() error {
			_, err := c.ListTracks(b.Context(), &metadatav1.ListTracksRequest{})
			return err
		}},
		{"ListArtists", func() error {
			_, err := c.ListArtists(b.Context(), &metadatav1.ListArtistsRequest{})
			return err
		}},
		{"GetAlbum", func() error {
			_, err := c.GetAlbum(b.Context(), &metadatav1.GetAlbumRequest{Id: first.GetAlbums()[0].GetId()})
			return err
		}},
		{"GetArtist", func() error {
			_, err := c.GetArtist(b.Context(), &metadatav1.GetArtistRequest{Id: first.GetAlbums()[0].GetCredits()[0].GetArtist().GetId()})
			return err
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				if err := bench.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
