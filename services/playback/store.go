package playback

import (
	"context"
	"errors"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
)

// What a Store answers beside success; anything else is a failure of the engine.
var (
	// ErrAbsent says that there is no such row.
	ErrAbsent = errors.New("playback store: absent")
	// ErrStale refuses a change that was made against another revision, or an event
	// that is kept already: read again.
	ErrStale = errors.New("playback store: changed meanwhile")
	// ErrTaken refuses a second key for one object.
	ErrTaken = errors.New("playback store: taken")
)

// Event is an envelope with where it goes. It is published if and only if the change
// that it came with is kept.
type Event struct {
	Topic, Key string
	Env        *eventv1.Envelope
}

// Store keeps what playback owns. Sessions, player and plays of one listener are one
// partition; no promise spans two. Every method is durable when it returns nil and
// changes nothing when it returns an error, but for one that is fault.Unavailable: then it
// may have been made, whole, and making it again is right. All may be called concurrently,
// and a read sees every change acknowledged before it.
type Store interface {
	SessionStore
	PlayerStore
	KeyStore
	PlayStore
	TrackStore

	// AddEvents publishes events that come with no change.
	AddEvents(ctx context.Context, events ...Event) error
	// ForgetListener removes the sessions, player and plays of a listener.
	ForgetListener(ctx context.Context, userID string) error
	// Prune removes sessions last renewed before sessions, and plays and event ids
	// last touched before plays.
	Prune(ctx context.Context, sessions, plays time.Time) error
}

// Session is one opened streaming session of a device.
type Session struct {
	ID, UserID, DeviceID string
	// LoginID is the sign-in it was opened with.
	LoginID string
	// KeyHash is the SHA-256 of the device's public key, KeyID the ticket key from which
	// the session's key was derived.
	KeyHash [32]byte
	KeyID   uint32
	// Epoch is the player's active_epoch when the session was opened.
	Epoch           uint64
	Opened, Renewed time.Time
}

// SessionStore keeps sessions.
type SessionStore interface {
	// PutSession keeps s with its events. Of a listener's sessions only the keep most
	// recently renewed ones stay.
	PutSession(ctx context.Context, s Session, keep int, events ...Event) error
	// Session returns ErrAbsent for an unknown one and for one of another listener.
	Session(ctx context.Context, userID, sessionID string) (Session, error)
	// Sessions are all of a listener, in no order.
	Sessions(ctx context.Context, userID string) ([]Session, error)
	// RenewSession notes the time of a renewal; ErrAbsent when the session is gone.
	RenewSession(ctx context.Context, userID, sessionID string, at time.Time) error
	// EndSessions removes the sessions of a sign-in, all of the listener's for "".
	EndSessions(ctx context.Context, userID, loginID string) error
}

// PlayerStore keeps one player per listener.
type PlayerStore interface {
	// Player returns a state of revision 0 for a listener who has none. The message is
	// the caller's.
	Player(ctx context.Context, userID string) (*playbackv1.PlayerState, error)
	// PlayerRevision is the revision alone.
	PlayerRevision(ctx context.Context, userID string) (uint64, error)
	// PutPlayer replaces the state with its events if the stored revision is that of
	// state less one, and returns ErrStale otherwise.
	PutPlayer(ctx context.Context, userID string, state *playbackv1.PlayerState, events ...Event) error
}

// ContentKey is the key of one sealed object, wrapped by a master key.
type ContentKey struct {
	ObjectID, TrackID string // 32 hex characters; 22 of base62
	Kbps              uint32
	KID               uint64
	SealID            [16]byte
	MasterID          uint32
	Wrapped           []byte
	Added             time.Time
}

// KeyStore keeps content keys.
type KeyStore interface {
	// AddKey keeps a key; ErrTaken when the object has one, which stays.
	AddKey(ctx context.Context, k ContentKey) error
	// ContentKey returns ErrAbsent for an unknown object.
	ContentKey(ctx context.Context, objectID string) (ContentKey, error)
	// NewestKey is the key of a track's rendition that was added last; ErrAbsent for none.
	NewestKey(ctx context.Context, trackID string, kbps uint32) (ContentKey, error)
}

// PlayChange is the next state of one play.
type PlayChange struct {
	// Play.Revision is one more than the stored one; 1 makes the play.
	Play Play
	// Seen are ids of events that this change has taken in. None was taken in by the
	// listener's plays before.
	Seen   []string
	Events []Event
}

// PlayStore keeps plays.
type PlayStore interface {
	// Play returns a play of revision 0 where there is none.
	Play(ctx context.Context, userID, playID string) (Play, error)
	// SeenEvents are those of ids that a change of this listener's plays has taken in.
	SeenEvents(ctx context.Context, userID string, ids []string) (map[string]bool, error)
	// CommitPlays makes each change by itself, whole or not at all, in the order given,
	// and answers per change: nil, ErrStale, or a failure.
	CommitPlays(ctx context.Context, changes []PlayChange) []error
	// DuePlays are plays whose Due is set and not after now, the earliest first.
	DuePlays(ctx context.Context, now time.Time, limit int) ([]Play, error)
}

// Track is what playback must know of a track to let it be played.
type Track struct {
	ID string
	// Revision is metadata's. A removed track stays as a mark with that revision.
	Revision            uint64
	Removed             bool
	OwnerID             string
	State               metadatav1.TrackState
	DurationMS          uint64
	Markets, Excluded   []string
	ReleaseDate         string
	Explicit, Withdrawn bool
	GainTrackQ8         int32
	GainAlbumQ8         int32
	PeakQ8              int32
	Renditions          []Rendition // rising by Kbps
}

// Rendition is one sealed encoding of a track.
type Rendition struct {
	Kbps     uint32
	ObjectID string
}

// TrackStore keeps playback's copy of the catalogue.
type TrackStore interface {
	// PutTrack keeps t unless a state of a higher revision is kept already, which then
	// stays without an error.
	PutTrack(ctx context.Context, t Track) error
	// Track returns ErrAbsent for one that was never kept.
	Track(ctx context.Context, id string) (Track, error)
}
