package playback

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
)

// Verdicts of CheckFences.
const (
	fenceOK        = "ok"
	fenceElsewhere = "elsewhere"
	fenceRevoked   = "revoked"
)

// fences holds in memory what decides whether a stream may go on: which sessions a
// listener has, and which device is active since which epoch.
//
// A session is fenced when its epoch is older than the player's and its device is not
// the active one. An epoch that is current is no leave to play beside another device:
// once the active device is known to be playing, a stream of any other one ends too.
type fences struct {
	store Store
	now   func() time.Time

	mu      sync.RWMutex
	entries map[string]*fence
}

// fence is the state of one listener.
type fence struct {
	used atomic.Int64 // Unix ms

	mu       sync.Mutex // held while the store is read, so that no older state replaces a newer one
	loaded   bool
	revision uint64
	epoch    uint64
	active   string
	playing  bool
	// served is when an edge last sent sound to the active device.
	served   time.Time
	sessions map[string]struct{}
	// refused are the refusals published in the minute that began at refusedAt.
	refused   map[string]struct{}
	refusedAt time.Time
}

const (
	// fenceUnused is when a listener is dropped from memory.
	fenceUnused = 10 * time.Minute
	// maxFences bounds the listeners in memory.
	maxFences = 200_000
	// liveWindow: an edge reports at least every 10 s while it sends.
	liveWindow = 30 * time.Second
)

func newFences(store Store, now func() time.Time) *fences {
	return &fences{store: store, now: now, entries: map[string]*fence{}}
}

func (f *fences) entry(userID string) *fence {
	ms := f.now().UnixMilli()
	f.mu.RLock()
	e := f.entries[userID]
	f.mu.RUnlock()
	if e == nil {
		f.mu.Lock()
		if e = f.entries[userID]; e == nil {
			for other := range f.entries {
				if len(f.entries) < maxFences {
					break
				}
				delete(f.entries, other) // any one: it is read again when it is needed
			}
			e = &fence{}
			f.entries[userID] = e
		}
		f.mu.Unlock()
	}
	e.used.Store(ms)
	return e
}

// locked returns the loaded entry of a listener, locked.
func (f *fences) locked(ctx context.Context, userID string) (*fence, error) {
	e := f.entry(userID)
	e.mu.Lock()
	if !e.loaded {
		if err := f.load(ctx, e, userID); err != nil {
			e.mu.Unlock()
			return nil, err
		}
	}
	return e, nil
}

// load replaces an entry, which is locked, by what is stored.
func (f *fences) load(ctx context.Context, e *fence, userID string) error {
	state, err := f.store.Player(ctx, userID)
	if err != nil {
		return err
	}
	list, err := f.store.Sessions(ctx, userID)
	if err != nil {
		return err
	}
	e.loaded, e.revision = true, 0
	e.see(state)
	e.sessions = make(map[string]struct{}, len(list))
	for _, s := range list {
		e.sessions[s.ID] = struct{}{}
	}
	return nil
}

// see takes in a state of the player unless a newer one is known.
func (e *fence) see(state *playbackv1.PlayerState) {
	if state.GetRevision() < e.revision {
		return
	}
	if e.active != state.GetActiveDeviceId() {
		e.served = time.Time{}
	}
	e.revision, e.epoch = state.GetRevision(), state.GetActiveEpoch()
	e.active, e.playing = state.GetActiveDeviceId(), state.GetPlaying()
}

// update changes an entry if it is in memory; one that is not will be read when needed.
func (f *fences) update(userID string, fn func(*fence)) {
	f.mu.RLock()
	e := f.entries[userID]
	f.mu.RUnlock()
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.loaded {
		fn(e)
	}
}

// verdict of a stream. beside says that playing beside the active device is to be seen
// as well; at the start of a play it is not, since the activation may be on its way.
func (f *fences) verdict(ctx context.Context, userID, sessionID, deviceID string, epoch uint64, beside bool) (string, error) {
	e, err := f.locked(ctx, userID)
	if err != nil {
		return "", err
	}
	defer e.mu.Unlock()
	if _, ok := e.sessions[sessionID]; !ok {
		// It may have been opened at another instance since.
		if err := f.load(ctx, e, userID); err != nil {
			return "", err
		}
		if _, ok := e.sessions[sessionID]; !ok {
			return fenceRevoked, nil
		}
	}
	switch {
	case e.active == "" || e.active == deviceID:
		return fenceOK, nil
	case e.epoch > epoch:
		return fenceElsewhere, nil
	case beside && e.playing && f.now().Sub(e.served) < liveWindow:
		return fenceElsewhere, nil
	}
	return fenceOK, nil
}

// knows reports whether a session is the listener's.
func (f *fences) knows(ctx context.Context, userID, sessionID string) (bool, error) {
	e, err := f.locked(ctx, userID)
	if err != nil {
		return false, err
	}
	defer e.mu.Unlock()
	_, ok := e.sessions[sessionID]
	return ok, nil
}

// served notes that sound went to a device.
func (f *fences) served(userID, deviceID string) {
	now := f.now()
	f.update(userID, func(e *fence) {
		if e.active == deviceID {
			e.served = now
		}
	})
}

// maxRefusals bounds the published refusals of one listener in a minute.
const maxRefusals = 60

// metered reports whether a refusal of a listener is to be published: an app that tries
// again every other second is refused once a minute for the same thing.
func (f *fences) metered(userID, what string, now time.Time) bool {
	e := f.entry(userID)
	e.mu.Lock()
	defer e.mu.Unlock()
	if minute := now.Truncate(time.Minute); e.refused == nil || !e.refusedAt.Equal(minute) {
		e.refusedAt, e.refused = minute, map[string]struct{}{}
	}
	if _, told := e.refused[what]; told || len(e.refused) >= maxRefusals {
		return false
	}
	e.refused[what] = struct{}{}
	return true
}

// refresh reads again every listener in use and drops the others. A listener who cannot
// be read keeps the state that is known.
func (f *fences) refresh(ctx context.Context, log *slog.Logger) {
	f.mu.RLock()
	users := make([]string, 0, len(f.entries))
	for u := range f.entries {
		users = append(users, u)
	}
	f.mu.RUnlock()
	unused := f.now().Add(-fenceUnused).UnixMilli()
	for _, u := range users {
		f.mu.Lock()
		e := f.entries[u]
		if e != nil && e.used.Load() < unused {
			delete(f.entries, u)
			e = nil
		}
		f.mu.Unlock()
		if e == nil {
			continue
		}
		e.mu.Lock()
		err := f.load(ctx, e, u)
		e.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.WarnContext(ctx, "refresh fences", "err", err)
			return
		}
	}
}

// CheckFences implements playbackv1connect.StreamServiceHandler.
func (s *Service) CheckFences(ctx context.Context, req *playbackv1.CheckFencesRequest) (*playbackv1.CheckFencesResponse, error) {
	verdicts := make([]string, len(req.GetFences()))
	for i, f := range req.GetFences() {
		v, err := s.fences.verdict(ctx, f.GetUserId(), f.GetSessionId(), f.GetDeviceId(), f.GetActiveEpoch(), true)
		if err != nil && len(verdicts) == 1 {
			return nil, err
		}
		if err != nil {
			s.Log.WarnContext(ctx, "fence is not known", "user", f.GetUserId(), "err", err)
			v = ""
		}
		s.metrics.fenced.WithLabelValues(cmp.Or(v, "unknown")).Inc()
		verdicts[i] = v
	}
	return &playbackv1.CheckFencesResponse{Verdicts: verdicts}, nil
}
