package playback_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/rpc/rpctest"
)

func (d *device) served(play, trackID string, ms uint64) *playbackv1.Served {
	return &playbackv1.Served{
		UserId: d.who.UserID, SessionId: d.session.GetSessionId(), DeviceId: d.id, PlayId: ident("play", play), TrackId: trackID,
		ServedMs: ms, Bytes: ms * 20,
	}
}

func (d *device) report(sequence uint64, lines ...*playbackv1.Served) {
	d.tb.Helper()
	_, err := d.streams().ReportServed(d.tb.Context(), &playbackv1.ReportServedRequest{EdgeId: "edge", Sequence: sequence, Served: lines})
	if err != nil {
		d.tb.Fatal(err)
	}
}

// envelope is an event as collect hands it over.
func (d *device) envelope(eventID string, m proto.Message) []byte {
	d.tb.Helper()
	env, err := event.New(ident("event", d.who.UserID, eventID), d.now(), "device:"+d.id, 0, m)
	if err != nil {
		d.tb.Fatal(err)
	}
	env.UserId, env.ActorId, env.DeviceId, env.SessionId = d.who.UserID, d.who.UserID, d.id, d.session.GetSessionId()
	b, err := event.Marshal(env)
	if err != nil {
		d.tb.Fatal(err)
	}
	return b
}

func (d *device) record(envelopes ...[]byte) *playbackv1.RecordEventsResponse {
	d.tb.Helper()
	who := d.who // as collect hands it on
	who.Target = "collect"
	res, err := d.recordsAs(who).RecordEvents(d.tb.Context(), &playbackv1.RecordEventsRequest{Envelopes: envelopes})
	if err != nil {
		d.tb.Fatal(err)
	}
	return res
}

func started(play string, t *metadatav1.Track) *eventv1.PlaybackStarted {
	return &eventv1.PlaybackStarted{
		PlayId: ident("play", play), TrackId: t.GetId(), QualityKbps: 160, Reason: "click",
		Context: &eventv1.Context{Uri: "segue:album:x", Shelf: "home"},
	}
}

func progress(play string, t *metadatav1.Track, heard uint64) *eventv1.PlaybackProgress {
	return &eventv1.PlaybackProgress{PlayId: ident("play", play), TrackId: t.GetId(), HeardMs: heard, PositionMs: heard}
}

func ended(play string, t *metadatav1.Track, heard uint64) *eventv1.PlaybackEnded {
	return &eventv1.PlaybackEnded{PlayId: ident("play", play), TrackId: t.GetId(), HeardMs: heard, Reason: "track_end"}
}

func listens(f *fixture) []*eventv1.TrackPlayed {
	return payloads[*eventv1.TrackPlayed](f, event.TrackPlayed)
}

// TestListen_Once: repeats, restarts and reports in any number make one TrackPlayed.
func TestListen_Once(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 160)
	d := f.open(person("ann"), "phone")
	batches := [][][]byte{
		{d.envelope("1", started("p", track)), d.envelope("2", progress("p", track, 10_000))},
		{d.envelope("3", &eventv1.QualityChanged{PlayId: ident("play", "p"), TrackId: track.GetId(), FromKbps: 160, ToKbps: 320})},
		{d.envelope("4", progress("p", track, 50_000)), d.envelope("5", ended("p", track, 60_000))},
	}
	for round := range 3 {
		for i, b := range batches {
			d.report(uint64(i), d.served("p", track.GetId(), 20_000))
			res := d.record(b...)
			if res.GetRefused() != nil || (round == 0) != (res.GetRecorded() == uint32(len(b))) || (round > 0) != (res.GetDuplicates() == uint32(len(b))) {
				t.Errorf("round %d, batch %d: %v", round, i, res)
			}
			d.record(append(b, b...)...) // and within one call
		}
		f.restart()
	}
	got := listens(f)
	if len(got) != 1 {
		t.Fatalf("%d listens: %v", len(got), got)
	}
	want := &eventv1.TrackPlayed{
		PlayId: ident("play", "p"), TrackId: track.GetId(), HeardMs: 60_000, TrackMs: 200_000, ReasonStart: "click", ReasonEnd: "track_end",
		Context: &eventv1.Context{Uri: "segue:album:x", Shelf: "home"}, QualityKbps: 320, Started: got[0].GetStarted(), Market: "DE",
	}
	if !proto.Equal(got[0], want) {
		t.Errorf("got %v\nwant %v", got[0], want)
	}
	ids := map[string]bool{}
	var last uint64
	for _, env := range f.events(event.Playback) {
		if ids[env.GetId()] {
			t.Errorf("event %s was published twice", env.GetId())
		}
		ids[env.GetId()] = true
		if env.GetSubject() == "play:"+ident("play", "p") {
			if env.GetRevision() < last || env.GetUserId() != d.who.UserID || env.GetSessionId() != d.session.GetSessionId() {
				t.Errorf("envelope %v after revision %d", env, last)
			}
			last = env.GetRevision()
		}
	}
	if n := len(payloads[*eventv1.StreamServed](f, event.Playback)); n != 3 {
		t.Errorf("%d StreamServed", n)
	}
}

// TestListen_Instances: what one instance remembers of a play does not count where another
// has changed it.
func TestListen_Instances(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 160)
	d := f.open(person("ann"), "phone")
	servers := []*rpctest.Server{f.srv, rpctest.New(t, f.instance().Handler)}
	const rounds = 10
	for i := range rounds {
		for _, f.srv = range servers { // each hears everything, in turns the first of it
			d.report(uint64(i), d.served("p", track.GetId(), 5_000))
			batch := [][]byte{d.envelope(fmt.Sprint("progress", i), progress("p", track, uint64(i+1)*5_000))}
			if i == 0 {
				batch = append(batch, d.envelope("started", started("p", track)))
			}
			if i == rounds-1 {
				batch = append(batch, d.envelope("ended", ended("p", track, rounds*5_000)))
			}
			first := f.srv == servers[0]
			if res := d.record(batch...); res.GetRefused() != nil || first != (res.GetRecorded() == uint32(len(batch))) || first == (res.GetDuplicates() > 0) {
				t.Errorf("round %d, first %t: %v", i, first, res)
			}
		}
		servers[0], servers[1] = servers[1], servers[0]
	}
	got := listens(f)
	if len(got) != 1 || got[0].GetHeardMs() != rounds*5_000 {
		t.Errorf("listens %v, want one of %d ms", got, rounds*5_000)
	}
	if n := len(payloads[*eventv1.StreamServed](f, event.Playback)); n != rounds {
		t.Errorf("%d StreamServed, want %d", n, rounds)
	}
}

// TestListen_Threshold and what bounds it: what was served, of the track that was served.
func TestListen_Threshold(t *testing.T) {
	for name, c := range map[string]struct {
		length, served, claimed uint64
		want                    int
		heard                   uint64
	}{
		"30_s":                         {200_000, 40_000, 30_000, 1, 30_000},
		"under_30_s":                   {200_000, 40_000, 29_999, 0, 0},
		"claimed_more_than_served":     {200_000, 31_000, 190_000, 1, 31_000},
		"claimed_without_being_served": {200_000, 0, 190_000, 0, 0},
		"served_too_little":            {200_000, 29_999, 190_000, 0, 0},
		"whole_of_a_short_track":       {12_000, 12_000, 12_000, 1, 12_000},
		"short_track_rounded":          {12_000, 11_900, 11_900, 1, 11_900},
		"part_of_a_short_track":        {12_000, 12_000, 9_000, 0, 0},
		"very_short_track":             {100, 100, 95, 1, 95},
		"length_not_known":             {0, 40_000, 30_000, 1, 30_000},
		"claim_over_a_day":             {200_000, 40_000, 86_400_001, 1, 40_000}, // the progress is refused, the end is not
	} {
		t.Run(name, func(t *testing.T) {
			f := setUp(t)
			f.conf.Sweep = time.Millisecond
			f.restart()
			track := f.addTrack("a", 160)
			track.DurationMs = c.length
			d := f.open(person("ann"), "phone")
			d.record(d.envelope("1", started("p", track)))
			if c.served > 0 {
				d.report(1, d.served("p", track.GetId(), c.served))
			}
			d.record(d.envelope("2", progress("p", track, c.claimed)), d.envelope("3", ended("p", track, min(c.claimed, 86_400_000))))
			f.run()
			f.advance(time.Minute)
			f.until("settled play", func() bool {
				p, err := f.store.Play(t.Context(), d.who.UserID, ident("play", "p"))
				return err == nil && p.Due.IsZero()
			})
			got := listens(f)
			if len(got) != c.want || (c.want == 1 && got[0].GetHeardMs() != c.heard) {
				t.Errorf("listens %v", got)
			}
			for _, p := range payloads[*eventv1.PlaybackProgress](f, event.Playback) {
				if p.GetHeardMs() > c.served {
					t.Errorf("published %d ms heard of %d served", p.GetHeardMs(), c.served)
				}
			}
		})
	}
}

// TestListen_LateReport: an edge may report after the client's last word.
func TestListen_LateReport(t *testing.T) {
	f := setUp(t)
	f.conf.Sweep = time.Millisecond
	f.restart()
	track := f.addTrack("a", 160)
	d := f.open(person("ann"), "phone")
	d.record(d.envelope("1", started("p", track)), d.envelope("2", ended("p", track, 50_000)))
	d.report(1, d.served("p", track.GetId(), 35_000))
	if got := listens(f); len(got) != 0 {
		t.Errorf("counted before the reports were in: %v", got)
	}
	d.report(2, d.served("p", track.GetId(), 20_000))
	if got := listens(f); len(got) != 1 || got[0].GetHeardMs() != 50_000 {
		t.Errorf("listens %v", got)
	}
	// When the rest never comes, what came is counted after a while.
	d.record(d.envelope("3", started("q", track)), d.envelope("4", ended("q", track, 50_000)))
	d.report(3, d.served("q", track.GetId(), 35_000))
	f.run()
	f.advance(31 * time.Second)
	f.until("second listen", func() bool { return len(listens(f)) == 2 })
	if got := listens(f); got[1].GetHeardMs() != 35_000 {
		t.Errorf("listens %v", got)
	}
	d.report(4, d.served("q", track.GetId(), 20_000))
	if got := listens(f); len(got) != 2 {
		t.Errorf("listens %v", got)
	}
}

func TestListen_Skip(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 160)
	d := f.open(person("ann"), "phone")
	d.report(1, d.served("p", track.GetId(), 40_000))
	d.record(d.envelope("1", started("p", track)),
		d.envelope("2", &eventv1.PlaybackSkipped{PlayId: ident("play", "p"), TrackId: track.GetId(), HeardMs: 33_000}),
		d.envelope("3", ended("p", track, 33_000)))
	got := listens(f)
	if len(got) != 1 || !got[0].GetSkipped() || got[0].GetReasonEnd() != "skipped" || got[0].GetHeardMs() != 33_000 {
		t.Errorf("listens %v", got)
	}
}

// TestListen_Fraud: streaming one track and claiming another, or another listener's play id.
func TestListen_Fraud(t *testing.T) {
	f := setUp(t)
	mine, theirs := f.addTrack("mine", 160), f.addTrack("theirs", 160)
	ann, eve := f.open(person("ann"), "phone"), f.open(person("eve"), "phone")
	eve.record(eve.envelope("1", started("p", mine)), eve.envelope("2", progress("p", mine, 90_000)))
	eve.report(1, eve.served("p", theirs.GetId(), 100_000))
	res := eve.record(eve.envelope("3", ended("p", mine, 90_000)))
	if len(res.GetRefused()) != 1 {
		t.Errorf("claim about another track: %v", res)
	}
	// A play id that was copied from another listener's traffic.
	ann.report(2, ann.served("q", theirs.GetId(), 100_000))
	eve.record(eve.envelope("4", started("q", theirs)), eve.envelope("5", ended("q", theirs, 60_000)))
	ann.record(ann.envelope("4", started("q", theirs)), ann.envelope("5", ended("q", theirs, 60_000)))
	f.run()
	f.advance(time.Hour)
	var users []string
	f.until("listen", func() bool {
		users = nil
		for _, env := range f.events(event.TrackPlayed) {
			users = append(users, env.GetUserId())
		}
		return len(users) > 0
	})
	if len(users) != 1 || users[0] != ann.who.UserID {
		t.Errorf("listens of %v, want one of ann", users)
	}
	// A session that is not the listener's is not believed.
	forged := *eve
	forged.session = ann.session
	eve.record(forged.envelope("6", started("r", theirs)))
	for _, env := range f.events(event.Playback) {
		if env.GetUserId() == eve.who.UserID && env.GetSessionId() == ann.session.GetSessionId() {
			t.Errorf("event in another listener's session: %v", env)
		}
	}
}

func TestPlay_States(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 160)
	d := f.open(person("ann"), "phone")
	id, tid := ident("play", "p"), track.GetId()
	resumed := &eventv1.PlaybackResumed{PlayId: id, TrackId: tid}
	paused := &eventv1.PlaybackPaused{PlayId: id, TrackId: tid}
	seeked := &eventv1.PlaybackSeeked{PlayId: id, TrackId: tid}
	for _, c := range []struct {
		name    string
		m       proto.Message
		refused bool
	}{
		{"progress_that_overtook", progress("p", track, 1), false},
		{"start", started("p", track), false},
		{"second_start", started("p", track), true},
		{"pause", paused, false},
		{"resume", resumed, false},
		{"seek", seeked, false},
		{"error", &eventv1.PlaybackError{PlayId: id, TrackId: tid, Code: "x"}, false},
		{"other_track", &eventv1.PlaybackResumed{PlayId: id, TrackId: ident("track", "b")}, true},
		{"malformed_play", &eventv1.PlaybackResumed{PlayId: "x", TrackId: tid}, true},
		{"server's_event", &eventv1.StreamServed{PlayId: id, TrackId: tid, ServedMs: 1e6}, true},
		{"listen", &eventv1.TrackPlayed{PlayId: id, TrackId: tid, HeardMs: 1e6}, true},
		{"end", ended("p", track, 1), false},
		{"second_end", ended("p", track, 1), true},
		{"pause_after_end", paused, true},
		{"resume_after_end", resumed, true},
		{"seek_after_end", seeked, true},
		{"progress_that_was_overtaken", progress("p", track, 1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.addTrack("b", 160)
			res := d.record(d.envelope(c.name, c.m))
			if (len(res.GetRefused()) == 1) != c.refused || res.GetRecorded() == 1 == c.refused {
				t.Errorf("%v", res)
			}
		})
	}
	res := d.record([]byte("garbage"), d.envelope("last", started("r", track)))
	if len(res.GetRefused()) != 1 || res.GetRefused()[0].GetIndex() != 0 || res.GetRecorded() != 1 {
		t.Errorf("garbage beside a good event: %v", res)
	}
	f.meta.err = fault.New(fault.Unavailable, "away")
	unknown := &metadatav1.Track{Id: ident("track", "new")}
	_, err := f.records().RecordEvents(t.Context(), &playbackv1.RecordEventsRequest{Envelopes: [][]byte{d.envelope("x", started("s", unknown))}})
	wantKind(t, "a track that cannot be looked up", err, fault.Unavailable)
}

// TestPlay_Silent: a client that vanished is counted, once, and may come back.
func TestPlay_Silent(t *testing.T) {
	f := setUp(t)
	f.conf.Sweep = time.Millisecond
	f.restart()
	track := f.addTrack("a", 160)
	d := f.open(person("ann"), "phone")
	d.report(1, d.served("p", track.GetId(), 90_000), d.served("short", track.GetId(), 90_000), d.served("paused", track.GetId(), 90_000))
	d.record(d.envelope("1", started("p", track)), d.envelope("2", progress("p", track, 40_000)),
		d.envelope("3", started("short", track)), d.envelope("4", progress("short", track, 5_000)),
		d.envelope("5", started("paused", track)),
		d.envelope("6", &eventv1.PlaybackPaused{PlayId: ident("play", "paused"), TrackId: track.GetId(), HeardMs: 40_000}))
	stop := f.run()
	f.advance(9 * time.Minute)
	d.record(d.envelope("7", progress("p", track, 41_000))) // a sign of life
	f.advance(9 * time.Minute)
	f.until("lapse of the short play", func() bool {
		p, err := f.store.Play(t.Context(), d.who.UserID, ident("play", "short"))
		return err == nil && p.Due.IsZero()
	})
	if got := listens(f); len(got) != 0 {
		t.Errorf("listens %v", got)
	}
	f.advance(2 * time.Minute)
	f.until("listen", func() bool { return len(listens(f)) == 1 })
	if got := listens(f)[0]; got.GetReasonEnd() != "silent" || got.GetHeardMs() != 41_000 {
		t.Errorf("listen %v", got)
	}
	stop()
	f.restart()
	f.run()
	// Both come back: what was not counted still can be, what was is not again.
	d.report(2, d.served("short", track.GetId(), 1), d.served("p", track.GetId(), 1))
	d.record(d.envelope("8", ended("short", track, 60_000)), d.envelope("9", ended("p", track, 80_000)))
	if got := listens(f); len(got) != 2 || got[1].GetPlayId() != ident("play", "short") || got[1].GetHeardMs() != 60_000 {
		t.Errorf("listens %v", got)
	}
	f.advance(6 * time.Hour)
	f.until("lapse of the paused play", func() bool { return len(listens(f)) == 3 })
}

// TestPlay_Clock: a clock that jumps neither counts twice nor loses a listen.
func TestPlay_Clock(t *testing.T) {
	f := setUp(t)
	f.conf.Sweep = time.Millisecond
	f.restart()
	track := f.addTrack("a", 160)
	d := f.open(person("ann"), "phone")
	f.run()
	d.report(1, d.served("p", track.GetId(), 90_000))
	d.record(d.envelope("1", started("p", track)), d.envelope("2", progress("p", track, 20_000)))
	f.advance(48 * time.Hour) // ahead: the play lapses at once
	f.until("lapse", func() bool {
		p, err := f.store.Play(t.Context(), d.who.UserID, ident("play", "p"))
		return err == nil && p.Due.IsZero()
	})
	f.advance(-96 * time.Hour) // and far back
	if res := d.record(d.envelope("3", progress("p", track, 50_000))); res.GetRecorded() != 1 {
		t.Errorf("%v", res)
	}
	d.record(d.envelope("4", ended("p", track, 60_000)))
	d.record(d.envelope("4", ended("p", track, 60_000)))
	if got := listens(f); len(got) != 1 || got[0].GetHeardMs() != 60_000 {
		t.Errorf("listens %v", got)
	}
}

// TestReportServed: a repeat counts nothing, an edge that starts over counts.
func TestReportServed(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 160)
	d := f.open(person("ann"), "phone")
	servedMS := func(play string) uint64 {
		p, err := f.store.Play(t.Context(), d.who.UserID, ident("play", play))
		if err != nil {
			t.Fatal(err)
		}
		return p.ServedMS
	}
	line := func(play string, ms uint64) *playbackv1.Served { return d.served(play, track.GetId(), ms) }
	for range 3 {
		d.report(1, line("p", 100), line("p", 100), line("q", 7), line("r", 0))
	}
	if p, q := servedMS("p"), servedMS("q"); p != 200 || q != 7 {
		t.Errorf("served %d and %d", p, q)
	}
	d.report(2, line("p", 50))
	d.report(1, line("p", 60)) // the sequence began again
	if p := servedMS("p"); p != 310 {
		t.Errorf("served %d", p)
	}
	d.report(3, d.served("p", ident("track", "other"), 1000)) // one play id for two tracks
	if p := servedMS("p"); p != 310 {
		t.Errorf("served %d", p)
	}
	many := make([]*playbackv1.Served, 1000)
	for i := range many {
		many[i] = line(ident(i), 10)
	}
	d.report(4, many...)
	d.report(4, many...)
	if got := servedMS(ident(999)); got != 10 {
		t.Errorf("served %d", got)
	}
	_, err := f.streams().ReportServed(t.Context(), &playbackv1.ReportServedRequest{EdgeId: "e", Served: []*playbackv1.Served{line("p", 1<<60)}})
	wantKind(t, "more than a day", err, fault.Invalid)
}
