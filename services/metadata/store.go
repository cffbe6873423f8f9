package metadata

import (
	"context"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// Store keeps the catalogue. All methods may be called concurrently. Records that it
// returns are the caller's to change.
//
// It is made for engines that have atomic writes within one partition only. Partitions
// are: a key, a track, an album with its members, an artist with its members and albums.
type Store interface {
	// Change runs plan on a view of the catalogue and stores what it returns. When it
	// returns nil the change is durable, and the events in it will be published, in order
	// per entity. When plan fails nothing is stored and the error is returned.
	//
	// plan may be called again when another writer was in between, so it is pure but for
	// ids it makes; and it must return nil or an empty Change where there is nothing to
	// do. Each entity is compared and set by the revision in its Before, and each with
	// its members and events is one atomic write. An engine that can does all in one
	// transaction; any other applies the parts in the order of the fields of [Change],
	// so that after a crash the same call again completes the rest: the track, from
	// which a plan starts, is written last. [ErrConflict] when plans kept colliding.
	Change(ctx context.Context, plan Plan) error

	// Tracks are the tracks of ids, in that order; an unknown id is left out.
	Tracks(ctx context.Context, ids []string) ([]*metadatav1.TrackRecord, error)
	// Album is one album, with or without tracks: [ErrNotFound].
	Album(ctx context.Context, id string) (*metadatav1.AlbumRecord, error)
	// AlbumTracks are all tracks of an album by disc, number and id.
	AlbumTracks(ctx context.Context, albumID string) ([]*metadatav1.TrackRecord, error)
	// Artist is one artist, with or without tracks: [ErrNotFound].
	Artist(ctx context.Context, id string) (*metadatav1.ArtistRecord, error)
	// ArtistAlbums are the newest albums an artist is credited on, and those of others
	// with a visible track that names the artist; each at most limit, by date, newest
	// first, only what the viewer sees.
	ArtistAlbums(ctx context.Context, artistID string, v Viewer, limit int) (own, others []*metadatav1.AlbumRecord, err error)
	// CountArtistAlbums is how many visible albums each of the artists is credited on;
	// none is left out or 0. An engine may stop at MaxArtistAlbums.
	CountArtistAlbums(ctx context.Context, artistIDs []string, v Viewer) (map[string]uint32, error)

	// Classes are the visibility classes that any track ever had.
	Classes(ctx context.Context) ([]*metadatav1.VisibilityClass, error)

	// List* yield the entities the viewer sees in the order asked, after a cursor. Over
	// pages nothing comes twice, and what did not change meanwhile is not missed. A page
	// ends at Limit entities, or before where they are large.
	ListTracks(ctx context.Context, q TrackQuery) (Page[*metadatav1.TrackRecord], error)
	ListAlbums(ctx context.Context, q AlbumQuery) (Page[*metadatav1.AlbumRecord], error)
	ListArtists(ctx context.Context, q ArtistQuery) (Page[*metadatav1.ArtistRecord], error)

	// Marks are the marks due at now, the longest due first.
	Marks(ctx context.Context, now time.Time, limit int) ([]Mark, error)
	// NextMark is when the next mark is due; zero when there is none.
	NextMark(ctx context.Context) (time.Time, error)
}

// Plan says what to change, given what is there.
type Plan func(ctx context.Context, view View) (*Change, error)

// View reads the catalogue for a plan. What is not there is nil, without an error.
type View interface {
	// Keys are the ids that the keys are claimed for; unclaimed ones are left out.
	Keys(ctx context.Context, keys []string) (map[string]string, error)
	Track(ctx context.Context, id string) (*metadatav1.TrackRecord, error)
	Album(ctx context.Context, id string) (*metadatav1.AlbumRecord, error)
	Artist(ctx context.Context, id string) (*metadatav1.ArtistRecord, error)
	// AlbumMember is what a track added to an album.
	AlbumMember(ctx context.Context, albumID, trackID string) (*metadatav1.AlbumMember, error)
	// AlbumSlot are the members at one disc and number.
	AlbumSlot(ctx context.Context, albumID string, disc, number uint32) ([]*metadatav1.AlbumMember, error)
	// ArtistMember is what a track added to an artist.
	ArtistMember(ctx context.Context, artistID, trackID string) (*metadatav1.ArtistMember, error)
	// OnAlbum tells whether the artist is linked to the album.
	OnAlbum(ctx context.Context, artistID, albumID string) (bool, error)
	// AlbumMemberIDs, ArtistMemberIDs and ArtistAlbumIDs are the ids after the one given,
	// in byte order, at most limit.
	AlbumMemberIDs(ctx context.Context, albumID, after string, limit int) ([]string, error)
	ArtistMemberIDs(ctx context.Context, artistID, after string, limit int) ([]string, error)
	ArtistAlbumIDs(ctx context.Context, artistID, after string, limit int) ([]string, error)
}

// Change is what a plan wants stored, in the order in which it is applied.
type Change struct {
	// Claims take keys for ids. A key that another id has is a conflict.
	Claims []Claim
	// Marks are set, each replacing an earlier one of the same entity.
	Marks   []Mark
	Artists []ArtistChange
	Albums  []AlbumChange
	Tracks  []TrackChange
	// Done removes marks that were not replaced since.
	Done []Mark
}

// Claim of a key, a hash, for the entity with the id.
type Claim struct{ Key, ID string }

// Kind of an entity that can be marked.
type Kind string

// The kinds.
const (
	KindAlbum  Kind = "album"
	KindArtist Kind = "artist"
)

// Mark notes durably that what tracks repeat of an entity is to be brought up to date.
type Mark struct {
	Kind Kind
	ID   string
	Due  time.Time // to the millisecond
}

// TrackChange is a new state of a track. Before is nil for a new one.
type TrackChange struct {
	Before, After *metadatav1.TrackRecord
	Events        []*eventv1.Envelope
}

// AlbumChange is a new state of an album and of its members.
type AlbumChange struct {
	Before, After *metadatav1.AlbumRecord
	Put           []*metadatav1.AlbumMember
	Drop          []string // track ids
	Events        []*eventv1.Envelope
}

// ArtistChange is a new state of an artist, of its members and its albums.
type ArtistChange struct {
	Before, After *metadatav1.ArtistRecord
	Put           []*metadatav1.ArtistMember
	Drop          []string // track ids
	Link, Unlink  []string // album ids
	Events        []*eventv1.Envelope
}

// Viewer is who looks. The zero value sees nothing.
type Viewer struct {
	// All sees everything.
	All bool
	// UserID sees what is its own, in every class.
	UserID string
	// Classes are the ids of the classes that are seen whosever the track is. A list of
	// those seen, not of those hidden: a class that is new meanwhile stays hidden.
	Classes []int64
}

// Order of a list.
type Order string

// The orders: newest first for added and date, else by sort key. Every order ends with
// the id, so that it is total.
const (
	OrderAdded  Order = "added"
	OrderTitle  Order = "title"
	OrderArtist Order = "artist"
	OrderDate   Order = "date"
)

// Cursor is the place of an entity in an order: its sort key (for added the number in
// decimal) and id.
type Cursor struct{ Key, ID string }

// TrackQuery asks for tracks by added or title.
type TrackQuery struct {
	Viewer Viewer
	// OwnerID restricts to the tracks of one owner.
	OwnerID string
	Order   Order
	After   *Cursor
	Limit   int
}

// AlbumQuery asks for albums by added, title, artist or date.
type AlbumQuery struct {
	Viewer Viewer
	Order  Order
	After  *Cursor
	Limit  int
}

// ArtistQuery asks for artists by sort name.
type ArtistQuery struct {
	Viewer Viewer
	After  *Cursor
	Limit  int
}

// Bounds to what an engine that has no query over all partitions must look at.
const (
	MaxTotal        = 1000
	MaxArtistAlbums = 5000
	MaxArtistTracks = 20_000
)

// Page of a list.
type Page[T any] struct {
	Items []T
	// Next is the cursor for the next page; nil at the end.
	Next *Cursor
	// Total is over all pages; from [MaxTotal] on it may be less than there are, but not
	// less than that. While a change is under way it may count it or not.
	Total uint64
}
