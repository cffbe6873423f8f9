package playback_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/fault"
)

func TestResolvePlay_Quality(t *testing.T) {
	f := setUp(t)
	f.conf.FreeMaxKbps = 160
	f.restart()
	d := f.open(person("ann"), "phone")
	all, some := []uint32{24, 96, 160, 320}, []uint32{96, 320}
	for name, c := range map[string]struct {
		there      []uint32
		want, most uint32
		plan       string
		got        uint32
		kind       fault.Kind
	}{
		"exact":                     {all, 160, 320, "premium", 160, 0},
		"auto_is_the_best":          {all, 0, 320, "premium", 320, 0},
		"auto_within_the_bound":     {all, 0, 96, "premium", 96, 0},
		"no_bound":                  {all, 320, 0, "premium", 320, 0},
		"nearest_lower":             {some, 160, 320, "premium", 96, 0},
		"else_nearest_higher":       {some, 24, 320, "premium", 96, 0},
		"plan_bounds":               {all, 320, 320, "free", 160, 0},
		"unknown_plan_is_the_least": {all, 320, 320, "vip", 160, 0},
		"higher_within_the_plan":    {[]uint32{320}, 24, 320, "premium", 320, 0},
		"not_above_the_plan":        {[]uint32{320}, 24, 320, "free", 0, fault.Unavailable}, // lower ones are on their way
	} {
		t.Run(name, func(t *testing.T) {
			track := f.addTrack(name, c.there...)
			req := d.play(track.GetId(), c.want)
			req.MaxKbps, req.Plan = c.most, c.plan
			res, err := f.streams().ResolvePlay(t.Context(), req)
			wantKind(t, "play", err, c.kind)
			if err != nil {
				return
			}
			if res.GetKbps() != c.got || res.GetObjectId() != objectOf(track.GetId(), c.got) || len(res.GetWrappedKey()) != 44 {
				t.Errorf("got %v, want %d", res, c.got)
			}
			if res.GetGainTrackQ8() != -300 || res.GetGainAlbumQ8() != -200 || res.GetPeakQ8() != -10 {
				t.Errorf("gains %v", res)
			}
		})
	}
}

func TestResolvePlay_Availability(t *testing.T) {
	f := setUp(t)
	ann, owner := f.open(person("ann"), "phone"), f.open(person("owner"), "desk")
	day := func(offset time.Duration) string { return f.now().Add(offset).Format(time.DateOnly) }
	for name, c := range map[string]struct {
		track  func(*metadatav1.Track)
		change func(*playbackv1.ResolvePlayRequest)
		kind   fault.Kind
	}{
		"everywhere":         {nil, nil, 0},
		"market":             {func(t *metadatav1.Track) { t.Availability.Markets = []string{"FR", "DE"} }, nil, 0},
		"other_market":       {func(t *metadatav1.Track) { t.Availability.Markets = []string{"FR"} }, nil, fault.Denied},
		"excluded":           {func(t *metadatav1.Track) { t.Availability.ExcludedMarkets = []string{"DE"} }, nil, fault.Denied},
		"no_market_at_all":   {func(t *metadatav1.Track) { t.Availability.Markets = []string{"FR"} }, func(r *playbackv1.ResolvePlayRequest) { r.Market = "" }, fault.Denied},
		"released":           {func(t *metadatav1.Track) { t.Availability.ReleaseDate = day(-48 * time.Hour) }, nil, 0},
		"year":               {func(t *metadatav1.Track) { t.Availability.ReleaseDate = "2001" }, nil, 0},
		"not_released":       {func(t *metadatav1.Track) { t.Availability.ReleaseDate = day(48 * time.Hour) }, nil, fault.Denied},
		"not_in_every_zone":  {func(t *metadatav1.Track) { t.Availability.ReleaseDate = day(11 * time.Hour) }, nil, fault.Denied},
		"unreadable_date":    {func(t *metadatav1.Track) { t.Availability.ReleaseDate = "soon" }, nil, fault.Denied},
		"withdrawn":          {func(t *metadatav1.Track) { t.Availability.Withdrawn = true }, nil, fault.Denied},
		"explicit_allowed":   {func(t *metadatav1.Track) { t.Availability.Explicit = true }, nil, 0},
		"explicit":           {func(t *metadatav1.Track) { t.Availability.Explicit = true }, func(r *playbackv1.ResolvePlayRequest) { r.ExplicitAllowed = false }, fault.Denied},
		"unknown":            {nil, func(r *playbackv1.ResolvePlayRequest) { r.TrackId = ident("nothing") }, fault.NotFound},
		"malformed_track":    {nil, func(r *playbackv1.ResolvePlayRequest) { r.TrackId = "../../etc/passwd" }, fault.Invalid},
		"no_key_hash":        {nil, func(r *playbackv1.ResolvePlayRequest) { r.DeviceKeyHash = nil }, fault.Invalid},
		"unknown_session":    {nil, func(r *playbackv1.ResolvePlayRequest) { r.SessionId = ident("s") }, fault.Unauthenticated},
		"session_of_another": {nil, func(r *playbackv1.ResolvePlayRequest) { r.UserId = uid("eve") }, fault.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			track := f.addTrack(name, 96)
			if c.track != nil {
				c.track(track)
			}
			req := ann.play(track.GetId(), 0)
			if c.change != nil {
				c.change(req)
			}
			_, err := f.streams().ResolvePlay(t.Context(), req)
			wantKind(t, "play", err, c.kind)
			if c.track != nil { // whoever owns it hears it as they see it
				_, err = f.streams().ResolvePlay(t.Context(), owner.play(track.GetId(), 0))
				wantKind(t, "the owner's play", err, 0)
			}
		})
	}
}

func TestResolvePlay_Refused(t *testing.T) {
	f := setUp(t)
	d := f.open(person("ann"), "phone")
	track := f.addTrack("a", 96)
	track.Availability.Withdrawn = true
	for range 5 {
		_, err := f.streams().ResolvePlay(t.Context(), d.play(track.GetId(), 0))
		wantKind(t, "play", err, fault.Denied)
	}
	for i := range 200 { // a client that guesses ids does not fill the log
		_, err := f.streams().ResolvePlay(t.Context(), d.play(ident("guess", i), 0))
		wantKind(t, "guess", err, fault.NotFound)
	}
	count := map[string]int{}
	for _, env := range f.events(event.Playback) {
		m, err := env.GetPayload().UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := m.(*eventv1.PlayRefused); ok {
			count[r.GetCode()]++
		}
	}
	if count["NOT_ENTITLED"] != 1 || count["NOT_FOUND"] != 59 {
		t.Errorf("refusals %v", count)
	}
}

// TestResolvePlay_EventsLate: what plays is played, also before its event has come.
func TestResolvePlay_EventsLate(t *testing.T) {
	f := setUp(t)
	d := f.open(person("ann"), "phone")
	track := f.addTrack("a")
	if _, err := f.streams().ResolvePlay(t.Context(), d.play(track.GetId(), 0)); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("before there is a rendition: %v", err)
	}
	f.addTrack("a", 96).Revision = 2
	res, err := f.streams().ResolvePlay(t.Context(), d.play(track.GetId(), 0))
	if err != nil || res.GetKbps() != 96 {
		t.Errorf("afterwards: %v %v", res, err)
	}
}

func TestResolvePlay_Pending(t *testing.T) {
	f := setUp(t)
	d := f.open(person("ann"), "phone")
	track := f.addTrack("a")
	prefetch := d.play(track.GetId(), 0)
	prefetch.Prefetch = true
	_, err := f.streams().ResolvePlay(t.Context(), prefetch)
	wantKind(t, "prefetch", err, fault.Unavailable)
	if len(f.queue.tracks) != 0 {
		t.Errorf("a prefetch moved %v to the front", f.queue.tracks)
	}
	_, err = f.streams().ResolvePlay(t.Context(), d.play(track.GetId(), 0))
	wantKind(t, "play", err, fault.Unavailable)
	if fault.RetryAfter(err) <= 0 {
		t.Error("no time to retry")
	}
	if len(f.queue.tracks) != 1 || f.queue.tracks[0] != track.GetId() {
		t.Errorf("moved to the front: %v", f.queue.tracks)
	}
	failed := f.addTrack("b")
	failed.State = metadatav1.TrackState_TRACK_STATE_FAILED
	_, err = f.streams().ResolvePlay(t.Context(), d.play(failed.GetId(), 0))
	wantKind(t, "failed track", err, fault.NotFound)
}

func (f *fixture) publish(subject string, revision uint64, payload proto.Message) {
	f.tb.Helper()
	env, err := event.New(ident(subject, revision, payload), f.now(), subject, revision, payload)
	if err != nil {
		f.tb.Fatal(err)
	}
	if err := event.NewPublisher(f.log, event.OwnerMetadata).Publish(f.tb.Context(), event.Catalogue, subject, env); err != nil {
		f.tb.Fatal(err)
	}
}

// TestCatalogue_Copy: a miss costs one call, a restart and every change none.
func TestCatalogue_Copy(t *testing.T) {
	f := setUp(t)
	stop := f.run()
	d := f.open(person("ann"), "phone")
	track := f.addTrack("a", 96)
	play := func() error {
		_, err := f.streams().ResolvePlay(t.Context(), d.play(track.GetId(), 320))
		return err
	}
	for range 3 {
		wantKind(t, "play", play(), 0)
	}
	stop()
	f.restart()
	f.run()
	wantKind(t, "play after a restart", play(), 0)

	withdrawn := proto.CloneOf(track)
	withdrawn.Availability.Withdrawn, withdrawn.Revision = true, 2
	f.publish("track:"+track.GetId(), 2, &eventv1.TrackChanged{Track: withdrawn})
	f.until("withdrawal", func() bool { return fault.KindOf(play()) == fault.Denied })

	back := proto.CloneOf(track)
	back.Revision = 3
	f.publish("track:"+track.GetId(), 3, &eventv1.TrackChanged{Track: back})
	f.until("return", func() bool { return play() == nil })

	// An older state that comes late changes nothing; a new rendition is merged.
	f.addTrack("a", 96, 320)
	f.publish("track:"+track.GetId(), 2, &eventv1.TrackChanged{Track: withdrawn})
	f.publish("track:"+track.GetId(), 4, &eventv1.RenditionPublished{
		TrackId: track.GetId(), Rendition: &metadatav1.Rendition{Kbps: 320, ObjectId: objectOf(track.GetId(), 320)},
	})
	f.until("rendition of 320", func() bool {
		res, err := f.streams().ResolvePlay(t.Context(), d.play(track.GetId(), 320))
		if err != nil {
			t.Fatal(err)
		}
		return res.GetKbps() == 320
	})
	if f.meta.calls != 1 {
		t.Errorf("%d calls of metadata", f.meta.calls)
	}
	f.publish("track:"+track.GetId(), 5, &eventv1.TrackRemoved{Reason: "test"})
	f.until("removal", func() bool { return fault.KindOf(play()) == fault.NotFound })
	// Neither a poisoned record nor one of another kind stops the copy.
	if err := f.log.Append(t.Context(), event.Record{Topic: event.Catalogue, Key: []byte("x"), Value: []byte("garbage")}); err != nil {
		t.Fatal(err)
	}
	f.publish("album:x", 1, &eventv1.AlbumChanged{})
	back.Revision = 6
	f.publish("track:"+track.GetId(), 6, &eventv1.TrackChanged{Track: back})
	f.until("second return", func() bool { return play() == nil })
	if f.meta.calls != 1 {
		t.Errorf("%d calls of metadata", f.meta.calls)
	}
}

func TestCatalogue_Away(t *testing.T) {
	f := setUp(t)
	d := f.open(person("ann"), "phone")
	known, unknown := f.addTrack("a", 96), f.addTrack("b", 96)
	if _, err := f.streams().ResolvePlay(t.Context(), d.play(known.GetId(), 0)); err != nil {
		t.Fatal(err)
	}
	f.meta.err = fault.New(fault.Unavailable, "away")
	_, err := f.streams().ResolvePlay(t.Context(), d.play(known.GetId(), 0))
	wantKind(t, "known track", err, 0)
	_, err = f.streams().ResolvePlay(t.Context(), d.play(unknown.GetId(), 0))
	wantKind(t, "unknown track", err, fault.Unavailable)
}

// TestResolvePlay_NewestKey: of several objects of a quality the catalogue's is played,
// and where its key is missing the one that was put last.
func TestResolvePlay_NewestKey(t *testing.T) {
	f := setUp(t)
	d := f.open(person("ann"), "phone")
	track := f.addTrack("a", 96)
	put := func(object string) {
		_, err := f.keys().PutKey(t.Context(), &playbackv1.PutKeyRequest{
			ObjectId: object, TrackId: track.GetId(), Kbps: 96, Kid: 2, SealId: make([]byte, 16), BaseKey: make([]byte, 16),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got := func() string {
		res, err := f.streams().ResolvePlay(t.Context(), d.play(track.GetId(), 96))
		if err != nil {
			t.Fatal(err)
		}
		return res.GetObjectId()
	}
	put(objectOf("newer", 1))
	if got() != objectOf(track.GetId(), 96) {
		t.Error("an object that is not published was played")
	}
	track.Renditions[0].ObjectId, track.Revision = objectOf("lost", 1), 2
	f.run()
	f.publish("track:"+track.GetId(), 2, &eventv1.TrackChanged{Track: track})
	put(objectOf("newest", 1))
	f.until("newest object", func() bool { return got() == objectOf("newest", 1) })
}
