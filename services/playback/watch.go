package playback

import (
	"context"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/identity"
)

// maxWatchers of one listener.
const maxWatchers = 64

// watchers wakes the streams of player state in this process. A wake says only that
// there may be something new; a lost one is repaired by reading again. Listeners who are
// watched here are followed at the other instances.
type watchers struct {
	notices Notices
	mu      sync.Mutex
	byUser  map[string]map[*watcher]struct{}
}

type watcher struct {
	wake chan struct{}
	gone chan struct{} // closed when the account is gone
	once sync.Once
}

func newWatchers(n Notices) *watchers {
	return &watchers{notices: n, byUser: map[string]map[*watcher]struct{}{}}
}

func (w *watchers) add(userID string) (*watcher, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	set := w.byUser[userID]
	if len(set) >= maxWatchers {
		return nil, ErrWatchers
	}
	if set == nil {
		set = map[*watcher]struct{}{}
		w.byUser[userID] = set
		w.notices.Follow(userID)
	}
	one := &watcher{wake: make(chan struct{}, 1), gone: make(chan struct{})}
	set[one] = struct{}{}
	return one, nil
}

func (w *watchers) remove(userID string, one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byUser[userID], one)
	if len(w.byUser[userID]) == 0 {
		delete(w.byUser, userID)
		w.notices.Unfollow(userID)
	}
}

func (w *watchers) notify(userID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.byUser[userID] {
		select {
		case one.wake <- struct{}{}:
		default: // awake already
		}
	}
}

func (w *watchers) end(userID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.byUser[userID] {
		one.once.Do(func() { close(one.gone) })
	}
}

// WatchPlayer implements playbackv1connect.PlayerServiceHandler.
func (s *Service) WatchPlayer(ctx context.Context, req *playbackv1.WatchPlayerRequest, stream *connect.ServerStream[playbackv1.WatchPlayerResponse]) error {
	who := identity.From(ctx)
	userID := who.UserID
	if who.Target == "edge" {
		userID = req.GetUserId() // from the ticket that the edge has verified
	}
	if userID == "" {
		return ErrNoListener
	}
	one, err := s.watchers.add(userID)
	if err != nil {
		return err
	}
	defer s.watchers.remove(userID, one)
	s.metrics.watching.Inc()
	defer s.metrics.watching.Dec()
	tick := time.NewTicker(s.Config.Refresh)
	defer tick.Stop()
	// Headers at once: a client that has the present state would wait for them until the
	// next change.
	if err := stream.Send(nil); err != nil {
		return fmt.Errorf("watch player: %w", err)
	}
	sent, last := req.GetSinceRevision(), uint64(0)
	for {
		// The revision is read after the wake was taken, so no change is missed.
		rev, err := s.Store.PlayerRevision(ctx, userID)
		if err != nil {
			return fmt.Errorf("watch player: %w", err)
		}
		if rev < last {
			return ErrWatchEnded // a player that goes back has gone with its account
		}
		last = rev
		if rev > sent {
			state, err := s.player(ctx, userID)
			if err != nil {
				return fmt.Errorf("watch player: %w", err)
			}
			if err := stream.Send(&playbackv1.WatchPlayerResponse{State: state}); err != nil {
				return fmt.Errorf("watch player: %w", err)
			}
			sent = state.GetRevision()
		}
		select {
		case <-one.wake:
		case <-tick.C:
		case <-one.gone:
			return ErrWatchEnded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
