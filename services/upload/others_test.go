package upload_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
)

// others records what the service tells metadata and playback, behind their real
// contracts, and answers as they promise: the same call twice changes nothing.
type others struct {
	mu     sync.Mutex
	calls  []string // "PutTrack <track>", in order
	tracks map[string]*metadatav1.Track
	puts   map[string]*metadatav1.PutTrackRequest
	keys   map[string]*playbackv1.PutKeyRequest // by object
	drawn  []string                             // every base key that was ever put
	failed map[string]string
	// before is called ahead of every call, to fail or to stop it.
	before func(ctx context.Context, call string) error
	// after is called when the effect is there but the caller does not know it yet.
	after func(ctx context.Context, call string) error
}

func newOthers() *others {
	return &others{
		tracks: map[string]*metadatav1.Track{}, puts: map[string]*metadatav1.PutTrackRequest{},
		keys: map[string]*playbackv1.PutKeyRequest{}, failed: map[string]string{},
	}
}

func (o *others) handler(opts ...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(metadatav1connect.NewIngestServiceHandler(o, opts...))
	mux.Handle(playbackv1connect.NewKeyServiceHandler(o, opts...))
	return mux
}

// call runs the effect of one call under the lock and the hooks outside it.
func (o *others) call(ctx context.Context, name string, effect func() error) error {
	o.mu.Lock()
	before, after := o.before, o.after
	o.mu.Unlock()
	if before != nil {
		if err := before(ctx, name); err != nil {
			return err
		}
	}
	o.mu.Lock()
	o.calls = append(o.calls, name)
	err := effect()
	o.mu.Unlock()
	if err == nil && after != nil {
		err = after(ctx, name)
	}
	return err
}

func (o *others) track(id string) *metadatav1.Track {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.tracks[id]; t != nil {
		return proto.Clone(t).(*metadatav1.Track)
	}
	return nil
}

func (o *others) count(prefix string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, c := range o.calls {
		if len(c) >= len(prefix) && c[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

func (o *others) PutTrack(ctx context.Context, req *metadatav1.PutTrackRequest) (*metadatav1.PutTrackResponse, error) {
	if err := protovalidate.Validate(req); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	var t *metadatav1.Track
	err := o.call(ctx, "PutTrack "+req.GetTrackId(), func() error {
		if o.tracks[req.GetTrackId()] == nil {
			o.tracks[req.GetTrackId()] = &metadatav1.Track{Id: req.GetTrackId(), OwnerId: req.GetOwnerId()}
		}
		t = o.tracks[req.GetTrackId()]
		t.Title, t.DurationMs = req.GetTags().GetTitle(), req.GetDurationMs()
		o.puts[req.GetTrackId()] = req
		return nil
	})
	return &metadatav1.PutTrackResponse{Track: t}, err
}

func (o *others) PutArtwork(ctx context.Context, req *metadatav1.PutArtworkRequest) (*metadatav1.PutArtworkResponse, error) {
	return &metadatav1.PutArtworkResponse{}, o.call(ctx, "PutArtwork "+req.GetTrackId(), func() error {
		return o.with(req.GetTrackId(), func(t *metadatav1.Track) { t.Artwork = req.GetArtwork() })
	})
}

func (o *others) with(id string, fn func(*metadatav1.Track)) error {
	t := o.tracks[id]
	if t == nil {
		return connect.NewError(connect.CodeNotFound, fmt.Errorf("no track %s", id))
	}
	fn(t)
	return nil
}

func (o *others) PublishRendition(ctx context.Context, req *metadatav1.PublishRenditionRequest) (*metadatav1.PublishRenditionResponse, error) {
	x := req.GetRendition()
	err := o.call(ctx, fmt.Sprintf("PublishRendition %d", x.GetKbps()), func() error {
		if o.keys[x.GetObjectId()] == nil {
			return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("no key for %s", x.GetObjectId()))
		}
		return o.with(req.GetTrackId(), func(t *metadatav1.Track) {
			t.Renditions = slices.DeleteFunc(t.Renditions, func(old *metadatav1.Rendition) bool { return old.GetKbps() == x.GetKbps() })
			t.Renditions = append(t.Renditions, x)
		})
	})
	return &metadatav1.PublishRenditionResponse{}, err
}

func (o *others) SetTrackFacts(ctx context.Context, req *metadatav1.SetTrackFactsRequest) (*metadatav1.SetTrackFactsResponse, error) {
	return &metadatav1.SetTrackFactsResponse{}, o.call(ctx, "SetTrackFacts "+req.GetTrackId(), func() error {
		return o.with(req.GetTrackId(), func(t *metadatav1.Track) {
			t.DurationMs, t.GainTrackQ8, t.PeakQ8 = req.GetDurationMs(), req.GetGainTrackQ8(), req.GetPeakQ8()
		})
	})
}

func (o *others) FailTrack(ctx context.Context, req *metadatav1.FailTrackRequest) (*metadatav1.FailTrackResponse, error) {
	return &metadatav1.FailTrackResponse{}, o.call(ctx, "FailTrack "+req.GetTrackId(), func() error {
		o.failed[req.GetTrackId()] = req.GetReason()
		return nil
	})
}

func (o *others) LookupTracks(ctx context.Context, req *metadatav1.LookupTracksRequest) (*metadatav1.LookupTracksResponse, error) {
	res := &metadatav1.LookupTracksResponse{}
	err := o.call(ctx, "LookupTracks", func() error {
		for _, id := range req.GetIds() {
			if t := o.tracks[id]; t != nil {
				res.Tracks = append(res.Tracks, proto.Clone(t).(*metadatav1.Track))
			}
		}
		return nil
	})
	return res, err
}

func (o *others) PutKey(ctx context.Context, req *playbackv1.PutKeyRequest) (*playbackv1.PutKeyResponse, error) {
	return &playbackv1.PutKeyResponse{}, o.call(ctx, fmt.Sprintf("PutKey %d", req.GetKbps()), func() error {
		if old := o.keys[req.GetObjectId()]; old != nil && !proto.Equal(old, req) {
			return connect.NewError(connect.CodeAlreadyExists, fmt.Errorf("another key for %s", req.GetObjectId()))
		}
		o.keys[req.GetObjectId()] = req
		o.drawn = append(o.drawn, hex.EncodeToString(req.GetBaseKey()))
		return nil
	})
}
