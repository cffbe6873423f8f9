// Package seed fills a running Segue with a large catalogue, of which some tracks have
// sound, for tests and measurements that need one. It does what the upload pipeline does
// at the end of its work, through the same calls with the same checks: tracks are put by
// their tags, renditions sealed each with a key of its own, keys and names published.
// What it leaves out is the decode of each file: a handful of sources is encoded once
// and sealed again and again.
package seed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
)

// Options of a seeding. RPC, Secrets and Data have to be there.
type Options struct {
	// RPC is the base URL of -rpc.listen, Secrets the folder -secrets.dir (beside the
	// data, with -secrets behind its name), Data the folder -data: objects are written
	// below it as the server's own are.
	RPC, Secrets, Data string
	// Owner is the username to which the tracks belong; empty is admin.
	Owner string
	// Tracks in all, WithSound of them with sound: spread over the whole catalogue.
	Tracks, WithSound int
	// Kbps are the renditions of those with sound: 24, 96, 160, 320; nil is 160 alone.
	Kbps []int
	// Seconds is how long the shortest source is; the longest is a quarter longer. 0 is
	// 190. Sources is how many different ones there are; 0 is 5.
	Seconds, Sources int
	// Music is a folder of audio files to cut the sources from; empty makes a loud mix.
	Music string
	// Cache is the folder that keeps encoded sources; empty is one of the user's.
	Cache string
	// Seed draws another catalogue; the same seed gives the same tracks with the same ids.
	Seed uint64
	// Say is told how far it is; nil is silent.
	Say func(format string, args ...any)
}

// Track is one track of the catalogue.
type Track struct {
	ID, Title, Artist, Album string
	// Seconds is the length of a track with sound, as it sounds.
	Seconds float64
	// Objects are the sealed renditions by kbit/s; none where there is no sound.
	Objects map[int]string
}

// Result is what Catalogue made.
type Result struct {
	Tracks []Track
	// Sound are the indices of those that have it.
	Sound []int
	// Listing and Sealing are how long the two parts took.
	Listing, Sealing time.Duration
}

// WithSound lists the tracks that can be played.
func (r *Result) WithSound() []Track {
	out := make([]Track, len(r.Sound))
	for i, n := range r.Sound {
		out[i] = r.Tracks[n]
	}
	return out
}

// clients are the services as the upload pipeline calls them.
type clients struct {
	ingest  metadatav1connect.IngestServiceClient
	keys    playbackv1connect.KeyServiceClient
	account userv1connect.DirectoryServiceClient
}

// Catalogue fills the server. Repeated with the same options it changes no track but
// gives those with sound new objects. It fails at the first refusal.
func Catalogue(ctx context.Context, o Options) (*Result, error) {
	o, err := o.filled()
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	c, err := o.dial()
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	owner, err := c.account.FindAccount(ctx, &userv1.FindAccountRequest{Username: o.Owner})
	if err != nil {
		return nil, fmt.Errorf("seed: find %s: %w", o.Owner, err)
	}
	var sources []source
	if o.WithSound > 0 {
		if sources, err = o.sources(ctx); err != nil {
			return nil, fmt.Errorf("seed: %w", err)
		}
	}
	s := &seeding{Options: o, clients: c, owner: owner.GetId(), sources: sources}
	return s.run(ctx)
}

func (o Options) filled() (Options, error) {
	if o.RPC == "" || o.Secrets == "" || o.Data == "" {
		return o, errors.New("address of calls, folder of secrets and folder of data are needed")
	}
	if o.Tracks < 1 || o.WithSound < 0 || o.WithSound > o.Tracks {
		return o, fmt.Errorf("%d tracks, %d of them with sound", o.Tracks, o.WithSound)
	}
	// Making a new key ring by accident would only give refusals that nobody understands.
	if _, err := os.Stat(o.Secrets); err != nil {
		return o, fmt.Errorf("secrets: %w", err)
	}
	if o.Owner == "" {
		o.Owner = "admin"
	}
	if len(o.Kbps) == 0 {
		o.Kbps = []int{160}
	}
	if o.Seconds == 0 {
		o.Seconds = 190
	}
	if o.Sources == 0 {
		o.Sources = 5
	}
	if o.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("find cache: %w", err)
		}
		o.Cache = filepath.Join(dir, "segue", "seed")
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	return o, nil
}

// seeding is one run.
type seeding struct {
	Options
	clients
	owner   string
	sources []source
	put     atomic.Int64
}

// Calls at a time. The server commits what comes together in one transaction.
const (
	listers = 24
	sealers = 4
)

func (s *seeding) run(ctx context.Context) (*Result, error) {
	plan := draw(s.Tracks, s.Seed)
	r := &Result{Tracks: make([]Track, s.Tracks)}
	start := time.Now()
	if err := s.list(ctx, plan, r.Tracks); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	r.Listing = time.Since(start)
	start = time.Now()
	for i := range s.WithSound {
		r.Sound = append(r.Sound, i*s.Tracks/s.WithSound)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(sealers)
	for i, n := range r.Sound {
		g.Go(func() error { return s.sound(ctx, s.sources[i%len(s.sources)], &r.Tracks[n]) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	r.Sealing = time.Since(start)
	s.Say("%d tracks are listed after %s, %d of them have sound after %s more",
		s.Tracks, r.Listing.Round(time.Millisecond), s.WithSound, r.Sealing.Round(time.Millisecond))
	return r, nil
}

// list puts every track. Those of one artist go one after the other, since each changes
// the same album.
func (s *seeding) list(ctx context.Context, plan []release, into []Track) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(listers)
	for _, byArtist := range byArtist(plan) {
		g.Go(func() error {
			for _, a := range byArtist {
				for i := range a.Tracks {
					if err := s.putTrack(ctx, &a, i, &into[a.First+i]); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *seeding) putTrack(ctx context.Context, a *release, i int, into *Track) error {
	t := a.Tracks[i]
	res, err := s.ingest.PutTrack(ctx, &metadatav1.PutTrackRequest{
		TrackId: t.ID, OwnerId: s.owner, DurationMs: t.MS, FileName: fmt.Sprintf("%02d.flac", i+1),
		Tags: &metadatav1.FileTags{
			Title: t.Title, Artists: []string{a.Artist}, Featured: t.Featured, AlbumArtists: []string{a.Artist}, Album: a.Title,
			Disc: 1, DiscTotal: 1, Number: uint32(i + 1), TrackTotal: uint32(len(a.Tracks)), Date: a.Date, Genres: a.Genres,
			Isrc: t.ISRC, Upc: a.UPC, Label: a.Label,
		},
	})
	if err != nil {
		return fmt.Errorf("put track %q: %w", t.Title, err)
	}
	*into = Track{ID: res.GetTrack().GetId(), Title: t.Title, Artist: a.Artist, Album: a.Title}
	if n := s.put.Add(1); n%5000 == 0 {
		s.Say("%d of %d tracks are listed", n, s.Tracks)
	}
	return nil
}
