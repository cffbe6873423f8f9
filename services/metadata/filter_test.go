package metadata_test

import (
	"fmt"
	"slices"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// TestListTracks_Filter: over pages of any size each track that a filter lets through comes
// once, in order, and no page is larger than asked.
func TestListTracks_Filter(t *testing.T) {
	f := setUp(t)
	var want []string
	for i := range 25 {
		name := fmt.Sprintf("Song %02d", i)
		track := f.put(t, name, &tags{Title: name, Artists: list("Can"), Album: "Ege Bamyasi", Number: uint32(i + 1)})
		req := &metadatav1.SetTrackFactsRequest{TrackId: track.GetId(), DurationMs: 1000}
		if i%5 != 0 { // else it is not analysed
			req.Features = &metadatav1.AudioFeatures{Version: 1, Bpm: proto.Float32(float32(100 + i)), Key: proto.Uint32(uint32(i % 2))}
		}
		if _, err := f.ingest.SetTrackFacts(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ingest.PublishRendition(t.Context(), &metadatav1.PublishRenditionRequest{TrackId: track.GetId(), Rendition: rendition(96)}); err != nil {
			t.Fatal(err)
		}
		if i%5 != 0 && i%2 == 1 && i >= 3 {
			want = append(want, name)
		}
	}
	for size := uint32(1); size < 12; size++ {
		var got []string
		for token, first := "", true; first || token != ""; first = false {
			res, err := f.as(listener()).ListTracks(t.Context(), &metadatav1.ListTracksRequest{Order: "title", PageSize: size, PageToken: token, Filter: "bpm:>=103 key:C#"})
			if err != nil || len(res.GetTracks()) > int(size) {
				t.Fatalf("page of %d: %d tracks, %v", size, len(res.GetTracks()), err)
			}
			for _, track := range res.GetTracks() {
				got = append(got, track.GetTitle())
			}
			token = res.GetNextPageToken()
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q, want %q", size, got, want)
		}
	}
	_, err := f.as(listener()).ListTracks(t.Context(), &metadatav1.ListTracksRequest{Filter: "bpm:fast"})
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a filter that cannot be read: %v", err)
	}
	// Facts without features keep those that there are.
	id := ident("Song 01")
	if _, err := f.ingest.SetTrackFacts(t.Context(), &metadatav1.SetTrackFactsRequest{TrackId: id, DurationMs: 2000}); err != nil {
		t.Fatal(err)
	}
	res, err := f.as(listener()).GetTracks(t.Context(), &metadatav1.GetTracksRequest{Ids: []string{id}})
	if err != nil || len(res.GetTracks()) != 1 || res.GetTracks()[0].GetFeatures().GetBpm() != 101 || res.GetTracks()[0].GetDurationMs() != 2000 {
		t.Errorf("%v, %v", res, err)
	}
}
