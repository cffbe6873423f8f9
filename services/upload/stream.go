package upload

import (
	"context"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/internal/pause"
)

const (
	// streamPoll is how late a change made by another instance is seen.
	streamPoll = 2 * time.Second
	// streamPause lets changes gather.
	streamPause = 100 * time.Millisecond
)

// WatchUploads sends the present state of the named uploads, then every change of them,
// or of all of the caller's when none is named. States between two sends are left out.
func (r uploadRPC) WatchUploads(ctx context.Context, req *uploadv1.WatchUploadsRequest, out *connect.ServerStream[uploadv1.WatchUploadsResponse]) error {
	w := &watching{s: r.s, owner: visibleOwner(ctx), ids: req.GetIds(), out: out, sent: map[string]sentState{}, since: r.s.Now()}
	sub, cancel := r.s.hub.subscribe(w.owner, w.ids)
	defer cancel()
	if err := w.sendNamed(ctx); err != nil {
		return err
	}
	// The response begins even when there is nothing to say yet.
	if len(w.sent) == 0 {
		if err := out.Send(nil); err != nil {
			return err
		}
	}
	tick := time.NewTicker(streamPoll)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.s.closed:
			return nil
		case <-tick.C:
			err = w.poll(ctx)
		case <-sub.wake:
			ids, lost := r.s.hub.take(sub)
			if err = w.send(ctx, ids); err == nil && lost {
				err = w.poll(ctx)
			}
			if err == nil && !pause.For(ctx, streamPause) {
				err = ctx.Err()
			}
		}
		if err != nil {
			return err
		}
	}
}

// sentState is what the other side knows.
type sentState struct {
	revision uint64
	progress uint32
}

// watching is one stream.
type watching struct {
	s     *Service
	owner string
	ids   []string
	out   *connect.ServerStream[uploadv1.WatchUploadsResponse]
	sent  map[string]sentState
	since time.Time
}

// sendNamed sends what has changed of the named uploads.
func (w *watching) sendNamed(ctx context.Context) error { return w.send(ctx, w.ids) }

// poll looks for what other instances changed.
func (w *watching) poll(ctx context.Context) error {
	if len(w.ids) > 0 {
		return w.sendNamed(ctx)
	}
	if w.owner == "" {
		return nil // an admin's view of everyone follows this instance only
	}
	// Clocks of instances differ a little; what was sent already is not sent again.
	us, err := w.s.Store.ChangedSince(ctx, w.owner, w.since.Add(-2*streamPoll), 1000)
	if err != nil {
		return err
	}
	if len(us) > 0 {
		w.since = us[len(us)-1].Updated
	}
	return w.sendAll(us)
}

const maxMany = 500

func (w *watching) send(ctx context.Context, ids []string) error {
	for chunk := range slices.Chunk(ids, maxMany) {
		us, err := w.s.Store.GetMany(ctx, chunk)
		if err != nil {
			return err
		}
		if err := w.sendAll(us); err != nil {
			return err
		}
	}
	return nil
}

func (w *watching) sendAll(us []Upload) error {
	slices.SortFunc(us, func(a, b Upload) int { return strings.Compare(a.ID, b.ID) })
	for _, u := range us {
		if w.owner != "" && w.owner != u.OwnerID {
			continue
		}
		m := w.s.message(u)
		now := sentState{u.Revision, m.GetProgressMilli()}
		if old, ok := w.sent[u.ID]; ok && (old == now || old.revision > now.revision) {
			continue
		}
		if len(w.ids) == 0 && len(w.sent) > maxDirty {
			clear(w.sent) // a state may then be sent twice, which is harmless
		}
		w.sent[u.ID] = now
		if err := w.out.Send(&uploadv1.WatchUploadsResponse{Upload: m}); err != nil {
			return err
		}
	}
	return nil
}
