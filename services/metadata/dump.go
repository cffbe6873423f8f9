package metadata

import (
	"context"
	"iter"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// Dump is all that a store keeps, as it is at one time, for another store that is to be
// filled with it. What it yields is the caller's. A sequence ends with its first error.
// Within one sequence others may be read; nothing is to be read concurrently.
type Dump interface {
	// State is the same for two dumps if they have the same entities in the same revisions.
	State(ctx context.Context) (string, error)
	Classes(ctx context.Context) iter.Seq2[*metadatav1.VisibilityClass, error]
	// Tracks, Albums and Artists are all there are, those without tracks too.
	Tracks(ctx context.Context) iter.Seq2[*metadatav1.TrackRecord, error]
	Albums(ctx context.Context) iter.Seq2[*metadatav1.AlbumRecord, error]
	Artists(ctx context.Context) iter.Seq2[*metadatav1.ArtistRecord, error]
	// AlbumMembers, ArtistMembers and ArtistAlbums are those of one entity by id.
	AlbumMembers(ctx context.Context, albumID string) iter.Seq2[*metadatav1.AlbumMember, error]
	ArtistMembers(ctx context.Context, artistID string) iter.Seq2[*metadatav1.ArtistMember, error]
	ArtistAlbums(ctx context.Context, artistID string) iter.Seq2[string, error]
	Claims(ctx context.Context) iter.Seq2[Claim, error]
	Marks(ctx context.Context) iter.Seq2[Mark, error]
}
