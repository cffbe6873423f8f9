package metadata_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/services/metadata/sqlite"
	"github.com/segue-music/segue/stream/id"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type fixture struct {
	store   *sqlite.Store
	service *metadata.Service
	blobs   *localblob.Store
	srv     *rpctest.Server
	ingest  metadatav1connect.IngestServiceClient
	log     event.Log
	read    int64 // events seen

	mu  sync.Mutex
	now time.Time
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func setUp(tb testing.TB) *fixture {
	tb.Helper()
	f := &fixture{now: start}
	var err error
	if f.store, err = sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "metadata.db"), sqlite.Options{Now: f.clock}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.store.Close() })
	if f.blobs, err = localblob.Open(tb.TempDir()); err != nil {
		tb.Fatal(err)
	}
	l, err := locallog.Open(tb.TempDir(), locallog.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	f.log = l
	f.serve(tb, f.store)
	return f
}

// serve makes the service on a store.
func (f *fixture) serve(tb testing.TB, store metadata.Store) {
	tb.Helper()
	var err error
	f.service, err = metadata.New(metadata.Deps{
		Store: store, Blobs: f.blobs, Log: slog.New(slog.NewTextHandler(tb.Output(), nil)), Now: f.clock,
		Config: metadata.Config{SpreadDelay: time.Second},
		NewID:  func() string { return id.New(f.clock(), rand.Reader).String() },
	})
	if err != nil {
		tb.Fatal(err)
	}
	f.srv = rpctest.New(tb, f.service.Handler)
	f.ingest = f.ingestAs(identity.Identity{Target: "upload"})
}

func (f *fixture) ingestAs(who identity.Identity) metadatav1connect.IngestServiceClient {
	return metadatav1connect.NewIngestServiceClient(f.srv.As(who), rpctest.URL)
}

// ident is a fixed id for a name.
func ident(name string) string { return id.Derive(name).String() }

var owner = ident("owner")

func (f *fixture) as(who identity.Identity) metadatav1connect.CatalogueServiceClient {
	who.Target = "gateway"
	return metadatav1connect.NewCatalogueServiceClient(f.srv.As(who), rpctest.URL)
}

func listener() identity.Identity {
	return identity.Identity{UserID: ident("listener"), Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, Market: "DE", ExplicitAllowed: true}
}

func admin() identity.Identity {
	return identity.Identity{UserID: ident("admin"), Roles: []authv1.Role{authv1.Role_ROLE_ADMIN}}
}

func artist() identity.Identity {
	return identity.Identity{UserID: owner, Roles: []authv1.Role{authv1.Role_ROLE_ARTIST}, Market: "DE"}
}

func (f *fixture) put(tb testing.TB, name string, tags *metadatav1.FileTags) *metadatav1.Track {
	tb.Helper()
	return f.putFile(tb, &metadatav1.PutTrackRequest{
		TrackId: ident(name), OwnerId: owner, Tags: tags, DurationMs: 180_000, FileName: name,
	})
}

func (f *fixture) putFile(tb testing.TB, req *metadatav1.PutTrackRequest) *metadatav1.Track {
	tb.Helper()
	res, err := f.ingest.PutTrack(tb.Context(), req)
	if err != nil {
		tb.Fatal(err)
	}
	return res.GetTrack()
}

// spread lets every mark come due and runs it.
func (f *fixture) spread(tb testing.TB) {
	tb.Helper()
	f.pass(2 * time.Second)
	if err := f.service.Spread(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// events are those since the last call.
func (f *fixture) events(tb testing.TB) []*eventv1.Envelope {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	relay := f.store.Relay(f.log, slog.New(slog.DiscardHandler))
	go func() { done <- relay.Run(ctx) }()
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		n, err := f.store.Pending(ctx)
		if err != nil {
			tb.Fatal(err)
		}
		if n == 0 {
			tick.Stop()
			break
		}
	}
	var out []*eventv1.Envelope
	for r, err := range f.log.Read(ctx, event.Catalogue, 0, f.read, false) {
		if err != nil {
			tb.Fatal(err)
		}
		e, err := event.Unmarshal(r.Value)
		if err != nil {
			tb.Fatal(err)
		}
		if want := e.GetSubject()[strings.IndexByte(e.GetSubject(), ':')+1:]; string(r.Key) != want {
			tb.Errorf("event of %s has key %s", e.GetSubject(), r.Key)
		}
		f.read = r.Offset + 1
		out = append(out, e)
	}
	cancel()
	if err := <-done; err != nil {
		tb.Fatal(err)
	}
	return out
}

func types(events []*eventv1.Envelope) map[string]int {
	out := map[string]int{}
	for _, e := range events {
		out[e.GetType()]++
	}
	return out
}

func payload[T proto.Message](tb testing.TB, e *eventv1.Envelope, into T) T {
	tb.Helper()
	if err := e.GetPayload().UnmarshalTo(into); err != nil {
		tb.Fatal(err)
	}
	return into
}

// albums are what the admin sees, as "artist: title (date) ×tracks", sorted.
func (f *fixture) albums(tb testing.TB) []string {
	tb.Helper()
	res, err := f.as(admin()).ListAlbums(tb.Context(), &metadatav1.ListAlbumsRequest{Order: "title", PageSize: 200})
	if err != nil {
		tb.Fatal(err)
	}
	if int(res.GetTotal()) != len(res.GetAlbums()) {
		tb.Errorf("total is %d, the list has %d", res.GetTotal(), len(res.GetAlbums()))
	}
	var out []string
	for _, a := range res.GetAlbums() {
		s := fmt.Sprintf("%s: %s ×%d", credited(a.GetCredits()), a.GetTitle(), a.GetTrackCount())
		if a.GetDate() != "" {
			s += " " + a.GetDate()
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// artists are what the admin sees, sorted.
func (f *fixture) artists(tb testing.TB) []string {
	tb.Helper()
	res, err := f.as(admin()).ListArtists(tb.Context(), &metadatav1.ListArtistsRequest{PageSize: 200})
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, a := range res.GetArtists() {
		out = append(out, a.GetName())
	}
	slices.Sort(out)
	return out
}

func credited(credits []*metadatav1.Credit) string {
	var b strings.Builder
	for _, c := range credits {
		b.WriteString(c.GetArtist().GetName() + c.GetJoin())
	}
	return b.String()
}
