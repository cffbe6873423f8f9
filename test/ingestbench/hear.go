package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
	"github.com/segue-music/segue/test/person"
)

// tracks lists the whole catalogue.
func tracks(ctx context.Context, p *person.Person) ([]*metadatav1.Track, error) {
	catalogue := metadatav1connect.NewCatalogueServiceClient(p.Client(http.DefaultTransport), p.Base)
	var out []*metadatav1.Track
	req := &metadatav1.ListTracksRequest{PageSize: 200}
	for {
		page, err := catalogue.ListTracks(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list tracks: %w", err)
		}
		out = append(out, page.GetTracks()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return out, nil
		}
	}
}

// hear plays a track until its first page is there, and asks again as long as the server
// says that it is being prepared: how often, is returned too.
func hear(ctx context.Context, s *client.Session, track string) (asked int, err error) {
	t, err := id.Parse(track)
	if err != nil {
		return 0, fmt.Errorf("play: %w", err)
	}
	for {
		asked++
		st, err := s.Play(ctx, client.Request{Track: t, PlayID: id.New(time.Now(), rand.Reader), Quality: wire.Kbps160})
		if err == nil {
			_, err = st.Next()
			return asked, errors.Join(err, st.Close())
		}
		var refused *wire.Error
		if !errors.As(err, &refused) || refused.RetryAfter == 0 {
			return asked, fmt.Errorf("play: %w", err)
		}
		select {
		case <-ctx.Done():
			return asked, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
