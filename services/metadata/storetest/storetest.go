// Package storetest holds an engine of the metadata service to the promises of
// metadata.Store. The checks are ordinary functions that return an error, so that the
// suite itself can be tested on stores that are broken on purpose.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/stream/id"
)

// Engine is a new, empty store under test.
type Engine struct {
	Store metadata.Store
	// Events publishes what the store holds back and gives all its events so far.
	Events func(ctx context.Context) ([]*eventv1.Envelope, error)
}

// Check is one promise.
type Check struct {
	Name string
	Run  func(ctx context.Context, e Engine) error
}

// Run runs all checks, each on a store of its own.
func Run(t *testing.T, open func(t *testing.T) Engine) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Checks are all promises.
func Checks() []Check {
	return []Check{
		{"Claims", checkClaims},
		{"Revisions", checkRevisions},
		{"Failed_plan", checkFailedPlan},
		{"Events", checkEvents},
		{"Members", checkMembers},
		{"Artist_albums", checkArtistAlbums},
		{"Marks", checkMarks},
		{"Classes", checkClasses},
		{"Concurrent", checkConcurrent},
		{"List_tracks", checkListTracks},
		{"List_albums", checkListAlbums},
		{"List_artists", checkListArtists},
		{"Read", checkRead},
	}
}

// ident is a fixed id for a name.
func ident(name string) string { return id.Derive("storetest", name).String() }

// always is a plan that changes c, whatever is there.
func always(c *metadata.Change) metadata.Plan {
	return func(context.Context, metadata.View) (*metadata.Change, error) { return c, nil }
}

// see reads through the view of a plan that changes nothing.
func see(ctx context.Context, s metadata.Store, read func(context.Context, metadata.View) error) error {
	return s.Change(ctx, func(ctx context.Context, v metadata.View) (*metadata.Change, error) { return nil, read(ctx, v) })
}

func envelope(subject string, revision uint64, n int) *eventv1.Envelope {
	e, err := event.New(ident(fmt.Sprint("event ", subject, revision, n)), time.Unix(1, 0), subject, revision, &eventv1.TrackRemoved{Reason: subject})
	if err != nil {
		panic(err) // the arguments are constant
	}
	return e
}

// class is a class of its own for a name.
func class(name string) *metadatav1.VisibilityClass {
	ids := map[string]int64{"open": 11, "explicit": 22, "withdrawn": 33}
	return &metadatav1.VisibilityClass{Id: ids[name], Availability: &metadatav1.Availability{Explicit: name == "explicit", Withdrawn: name == "withdrawn"}}
}

func track(name, owner, className string, added int64) *metadatav1.TrackRecord {
	return &metadatav1.TrackRecord{
		Track: &metadatav1.Track{Id: ident(name), Title: name, OwnerId: ident(owner), AddedUnixMs: added, Revision: 1},
		Class: class(className),
	}
}

func putTrack(r *metadatav1.TrackRecord) *metadata.Change {
	return &metadata.Change{Tracks: []metadata.TrackChange{{
		After: r, Events: []*eventv1.Envelope{envelope("track:"+r.GetTrack().GetId(), r.GetTrack().GetRevision(), 0)},
	}}}
}

func album(name, owner, className string, added int64) *metadatav1.AlbumRecord {
	return &metadatav1.AlbumRecord{
		Album:   &metadatav1.Album{Id: ident(name), Title: name, TrackCount: 1, AddedUnixMs: added, Revision: 1, Date: fmt.Sprint(2100 - added)},
		OwnerId: ident(owner), SortTitle: name, SortArtist: "by " + name,
		Shares: []*metadatav1.Share{{ClassId: class(className).GetId(), OwnerId: ident(owner), Tracks: 1}},
	}
}

func artist(name, owner, className string) *metadatav1.ArtistRecord {
	return &metadatav1.ArtistRecord{
		Artist: &metadatav1.Artist{Id: ident(name), Name: name, TrackCount: 1, Revision: 1}, SortName: name,
		Shares: []*metadatav1.Share{{ClassId: class(className).GetId(), OwnerId: ident(owner), Tracks: 1}},
	}
}

// same compares messages, lists and plain values.
func same(what string, want, got any) error {
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		return fmt.Errorf("%s (-want +got):\n%s", what, diff)
	}
	return nil
}

// wants turns a wrong error into an error.
func wants(what string, want, got error) error {
	if !errors.Is(got, want) || want == nil && got != nil {
		return fmt.Errorf("%s: error %w, want %w", what, orNone(got), orNone(want))
	}
	return nil
}

var errNone = errors.New("none")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
