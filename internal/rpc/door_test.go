package rpc

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/overload"
)

// slow keeps each call until it is let go.
type slow struct {
	metadatav1connect.UnimplementedIngestServiceHandler
	metadatav1connect.UnimplementedCatalogueServiceHandler
	in, out chan struct{}
}

func (s *slow) wait() { s.in <- struct{}{}; <-s.out }

func (s *slow) LookupTracks(context.Context, *metadatav1.LookupTracksRequest) (*metadatav1.LookupTracksResponse, error) {
	s.wait()
	return &metadatav1.LookupTracksResponse{}, nil
}

func (s *slow) GetAlbum(context.Context, *metadatav1.GetAlbumRequest) (*metadatav1.GetAlbumResponse, error) {
	s.wait()
	return &metadatav1.GetAlbumResponse{}, nil
}

func (s *slow) PutTrack(context.Context, *metadatav1.PutTrackRequest) (*metadatav1.PutTrackResponse, error) {
	s.wait()
	return &metadatav1.PutTrackResponse{}, nil
}

// TestDoor: of eight places uploads have four, pages seven and edges all. Who has none is
// told at once that the call was not begun, and may call again when a place is free.
func TestDoor(t *testing.T) {
	reg := prometheus.NewRegistry()
	door, err := newDoor(overload.NewLimit(8, func() (bool, bool) { return false, false }, time.Now), reg)
	if err != nil {
		t.Fatal(err)
	}
	s := &slow{in: make(chan struct{}), out: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle(metadatav1connect.NewIngestServiceHandler(s))
	mux.Handle(metadatav1connect.NewCatalogueServiceHandler(s))
	srv := httptest.NewServer(door.Guard(mux))
	defer srv.Close()
	opt := connect.WithInterceptors(ClientInterceptor())
	ingest := metadatav1connect.NewIngestServiceClient(srv.Client(), srv.URL, opt)
	catalogue := metadatav1connect.NewCatalogueServiceClient(srv.Client(), srv.URL, opt)
	put := func() error { _, err := ingest.PutTrack(t.Context(), &metadatav1.PutTrackRequest{}); return err }
	album := func() error {
		_, err := catalogue.GetAlbum(t.Context(), &metadatav1.GetAlbumRequest{})
		return err
	}
	lookup := func() error {
		_, err := ingest.LookupTracks(t.Context(), &metadatav1.LookupTracksRequest{})
		return err
	}
	done := make(chan error)
	fill := func(n int, call func() error) {
		t.Helper()
		for range n {
			go func() { done <- call() }()
			<-s.in
		}
		err := call()
		var ce *connect.Error
		if fault.KindOf(err) != fault.Exhausted || fault.RetryAfter(err) != time.Second || !errors.As(err, &ce) || ce.Meta().Get(overload.Header) == "" {
			t.Errorf("one more than %d: %v", n, err)
		}
	}
	fill(4, put)
	fill(3, album)
	fill(1, lookup)
	for i := range overload.Urgent + 1 {
		if n := testutil.ToFloat64(door.refused.WithLabelValues(i.String())); n != 1 {
			t.Errorf("%g %s calls refused, want 1", n, i)
		}
	}
	for range 8 {
		s.out <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	fill(4, put)
	for range 4 {
		s.out <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestDoor_Calls(t *testing.T) {
	all := calls()
	for path, want := range map[string]overload.Importance{
		playbackv1connect.StreamServiceCheckFencesProcedure: overload.Urgent, playbackv1connect.StreamServiceResolvePlayProcedure: overload.Urgent,
		metadatav1connect.IngestServiceLookupTracksProcedure: overload.Urgent, metadatav1connect.CatalogueServiceGetAlbumProcedure: overload.Ordinary,
		metadatav1connect.IngestServicePutTrackProcedure: overload.Background,
	} {
		if got, ok := all[path]; !ok || got != want {
			t.Errorf("%s: %d, %t; want %d", path, got, ok, want)
		}
	}
	if _, ok := all[playbackv1connect.PlayerServiceWatchPlayerProcedure]; ok {
		t.Error("a stream is counted")
	}
}
