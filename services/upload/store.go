package upload

import (
	"context"
	"iter"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// Store keeps uploads, their jobs, and what was found out about them. Every method may
// be called concurrently. A nil error of a change means durable, an error means not
// applied, but for one of kind fault.Unavailable: an engine that is lost in a commit may not
// know. The events of a change become visible to consumers if and only if it was applied.
type Store interface {
	// Create stores new uploads, and the watched files they came from, all or none.
	// Bounds hold for every owner of them, counted with what is stored. ErrExists,
	// ErrQuota, ErrTooManyOpen.
	Create(ctx context.Context, c Creation) error
	// Get returns an upload; ErrNotFound.
	Get(ctx context.Context, id string) (Upload, error)
	// GetMany returns those of at most 1000 uploads that exist, in any order.
	GetMany(ctx context.Context, ids []string) ([]Upload, error)
	// ByTrack returns the newest upload that makes a track; ErrNotFound.
	ByTrack(ctx context.Context, trackID string) (Upload, error)
	// List returns a page, newest first; ErrPageToken. An upload that was there before the
	// first page was asked for is on exactly one page.
	List(ctx context.Context, q Query) (Page, error)
	// ChangedSince returns at most limit uploads of an owner whose Updated is at or after
	// since, the longest unchanged first.
	ChangedSince(ctx context.Context, ownerID string, since time.Time, limit int) ([]Upload, error)
	// Counts counts uploads by state.
	Counts(ctx context.Context) (map[State]uint64, error)
	// Twins returns the owner's uploads with this size and quick hash that have neither
	// failed nor been found to be duplicates, the oldest first.
	Twins(ctx context.Context, ownerID string, size int64, quick string) ([]Upload, error)

	// Save changes an upload by compare-and-set: its Revision is the one that was read and
	// becomes one more. ErrConflict when it has another one or Change.Lease is not the
	// lease it is under; ErrNotFound.
	Save(ctx context.Context, c Change) error
	// Delete removes an upload at this revision; ErrConflict, ErrNotFound.
	Delete(ctx context.Context, id string, revision uint64, events []*eventv1.Envelope) error

	// Claim leases at most limit due jobs of a lane until now plus lease, the most urgent
	// first. A job is due from RunAt on, when it is under no lease or under one that has
	// ended. No job is claimed twice at a time.
	Claim(ctx context.Context, lane Lane, now time.Time, lease time.Duration, limit int) ([]Upload, error)
	// Extend lengthens a lease; ErrConflict when it is no longer held.
	Extend(ctx context.Context, id, lease string, until time.Time) error
	// Release gives a job back as it was, due at once; nothing when the lease is not held.
	Release(ctx context.Context, id, lease string) error
	// NextDue is when the next job of a lane becomes due; zero when there is none.
	NextDue(ctx context.Context, lane Lane) (time.Time, error)

	// Objects returns the objects of an upload.
	Objects(ctx context.Context, uploadID string) ([]Object, error)
	// StaleObjects returns at most limit objects in a state since before a time, the oldest
	// first.
	StaleObjects(ctx context.Context, state ObjectState, before time.Time, limit int) ([]Object, error)
	// DropObject forgets an object; nothing when there is none.
	DropObject(ctx context.Context, objectID string) error

	// Print returns the print of a track; ErrNotFound.
	Print(ctx context.Context, trackID string) (Print, error)
	// SimilarPrints returns at most limit prints of other tracks that have p's PCM hash or
	// at least share of its terms, the most alike first.
	SimilarPrints(ctx context.Context, p Print, share, limit int) ([]Print, error)

	// WatchedFiles yields what is known of a folder.
	WatchedFiles(ctx context.Context, folder string) iter.Seq2[WatchedFile, error]
	// MoveWatched gives a known file another path; a file known under it is forgotten.
	MoveWatched(ctx context.Context, folder, from, to string) error

	// Stale returns at most limit uploads in a state whose Updated is before a time and,
	// with staged, whose bytes are staged.
	Stale(ctx context.Context, state State, staged bool, before time.Time, limit int) ([]Upload, error)
}

// Lane is a queue with workers of its own.
type Lane uint8

// The lanes. Light has the stages tags and tell, in this order; Cover and Audio have the
// stages of their names, and FastAudio only audio of Express priority.
const (
	LaneLight Lane = iota + 1
	LaneCover
	LaneAudio
	LaneFastAudio
)

// Creation is what Create stores.
type Creation struct {
	Uploads []Upload
	Files   []WatchedFile // replace what is known under the same path
	Events  []*eventv1.Envelope
	Bounds  Bounds
}

// Bounds per owner; 0 is none.
type Bounds struct {
	// Bytes of uploads that are being received or are staged.
	Bytes int64
	// Open uploads being received.
	Open int
}

// Query of List. Zero values of OwnerID and State are all.
type Query struct {
	OwnerID string
	State   State
	Size    int // 1 to 200
	Token   string
}

// Page of uploads. Next is empty on the last one.
type Page struct {
	Uploads []Upload
	Next    string
}

// Change is what Save stores, all or nothing.
type Change struct {
	Upload Upload
	// Lease, when not empty, must be the one that the upload is under. It ends with the
	// change unless KeepLease.
	Lease     string
	KeepLease bool
	// EndLease ends the lease whoever holds it: what its worker still does is void.
	EndLease bool
	// Objects are added or replaced by ID. With RetireOthers the published ones that other
	// uploads made for the same track become retired.
	Objects      []Object
	RetireOthers bool
	// Print replaces that of its track, Watched what is known under its path.
	Print   *Print
	Watched *WatchedFile
	Events  []*eventv1.Envelope
}
