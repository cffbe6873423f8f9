package playback

import "github.com/segue-music/segue/internal/fault"

// What callers are told. The edge turns the kinds into the codes of the streaming
// protocol: NotFound, Denied (NOT_ENTITLED), Conflict (PLAYING_ELSEWHERE), Unauthenticated
// (TICKET_INVALID), Exhausted and Unavailable.
var (
	ErrSessionEnded = fault.New(fault.Unauthenticated, "session has ended: open a new one")
	ErrNoSession    = fault.New(fault.NotFound, "session not found")
	ErrDeviceKey    = fault.New(fault.Invalid, "public_key is not a usable X25519 key")
	ErrNoListener   = fault.New(fault.Denied, "only for a listener")

	ErrTrackNotFound  = fault.New(fault.NotFound, "track not found")
	ErrTrackFailed    = fault.New(fault.NotFound, "track could not be made into sound")
	ErrWithdrawn      = fault.New(fault.Denied, "track is withdrawn")
	ErrMarket         = fault.New(fault.Denied, "track is not available in this market")
	ErrNotReleased    = fault.New(fault.Denied, "track is not released yet")
	ErrExplicit       = fault.New(fault.Denied, "explicit tracks are off for this listener")
	ErrPlan           = fault.New(fault.Denied, "plan does not include a quality that there is")
	ErrNotPlayableYet = fault.New(fault.Unavailable, "track is being prepared")
	ErrCatalogueAway  = fault.New(fault.Unavailable, "catalogue is not reachable")
	ErrElsewhere      = fault.New(fault.Conflict, "playing on another device")

	ErrRevision   = fault.New(fault.Conflict, "player has changed: read it again")
	ErrState      = fault.New(fault.Invalid, "player state is not valid")
	ErrWatchers   = fault.New(fault.Exhausted, "too many watchers of one player")
	ErrWatchEnded = fault.New(fault.Unauthenticated, "account is gone")

	ErrKeyConflict = fault.New(fault.Conflict, "object has another key already")
	ErrContention  = fault.New(fault.Unavailable, "too many changes of one play at once")
)
