//go:build system && fault

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
)

// listens is what listeners have heard to the end, and were told that it is known.
type listens struct {
	mu    sync.Mutex
	heard map[string]string // track by play
	tries int
}

func (l *listens) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.heard)
}

// TestFault_Listens kills playback by SIGKILL again and again while people hear short
// tracks to their end. Each play that they heard and told of is one listen, whatever died
// in between; no other is; and a recount of the plays' own events says the same.
func TestFault_Listens(t *testing.T) {
	kills, plays := 4, 120
	if *fullFault {
		kills, plays = 25, 2_000
	}
	d := cluster(t, unlimited...)
	d.login()
	const length = 4
	d.must("upload", d.noise("Short.flac", length, 7, tags("Short", "Heard")...), "--wait")
	track := d.track("Short")
	admin := d.admin()
	l := &listens{heard: map[string]string{}}
	ctx, stop := context.WithCancel(t.Context())
	var people sync.WaitGroup
	defer stop()
	for n := range 6 {
		p := d.listener(admin, fmt.Sprintf("hears%d", n))
		p.activate(track.ID)
		people.Go(func() { l.listen(ctx, p, track) })
	}
	for n := range kills {
		want := plays * (n + 1) / kills
		d.until(10*time.Minute, fmt.Sprintf("%d plays", want), func() error {
			if got := l.count(); got < want {
				return errorf("%d of %d, %d tries", got, want, l.tries)
			}
			return nil
		})
		d.killOne("playback", n)
	}
	stop()
	people.Wait()

	l.mu.Lock()
	want := maps.Clone(l.heard)
	l.mu.Unlock()
	doubled := 0
	d.until(2*time.Minute, "all listens", func() error {
		var got map[string]string
		got, doubled = d.played(admin)
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	if diff := cmp.Diff(want, d.recounted(admin, uint64(track.DurationMS))); diff != "" {
		t.Errorf("recounted from the plays' events (-heard +recounted):\n%s", diff)
	}
	t.Logf("%d kills, %d plays heard and told of, %d tries: each is one listen, none more; %d were published again with their id", kills, len(want), l.tries, doubled)
}

// killOne kills one of the processes of a target, each in turn, and starts it again.
func (d *deployment) killOne(target string, turn int) {
	d.Helper()
	var all []*process
	for _, p := range d.procs {
		if p.args[0] == "-target="+target {
			all = append(all, p)
		}
	}
	p := all[turn%len(all)]
	if err := p.cmd.Process.Kill(); err != nil {
		d.Fatal(err)
	}
	_ = p.cmd.Wait() // killed: it says so
	d.again(p)
	d.await(p)
}

// listen plays a track to its end over and over, as an app does.
func (l *listens) listen(ctx context.Context, p *person, track listed) {
	session, err := p.tryOpen(false, nil)
	for err != nil && ctx.Err() == nil {
		wait(ctx, 200*time.Millisecond)
		session, err = p.tryOpen(false, nil)
	}
	if err != nil {
		return
	}
	defer func() { _ = session.Close() }()
	for n := 0; ctx.Err() == nil; n++ {
		l.mu.Lock()
		l.tries++
		l.mu.Unlock()
		play := newID()
		if err := session.hear(ctx, track.ID, play); err != nil {
			wait(ctx, 200*time.Millisecond)
			continue
		}
		// What was heard is told until it is known, also after the end of the test.
		if p.tells(session.id, play, track) {
			l.mu.Lock()
			l.heard[play] = track.ID
			l.mu.Unlock()
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// hear takes a whole track.
func (l *listening) hear(ctx context.Context, track, play string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	t, err := id.Parse(track)
	if err != nil {
		return err
	}
	playID, err := id.Parse(play)
	if err != nil {
		return err
	}
	st, err := l.Play(ctx, client.Request{Track: t, PlayID: playID, Quality: wire.Kbps96})
	if err != nil {
		return err
	}
	defer st.Close()
	for {
		if _, err := st.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// tells sends the events of a play that was heard, the same again until they are taken.
func (p *person) tells(session, play string, track listed) bool {
	now := time.Now().UnixMilli()
	req := &collectv1.SendEventsRequest{DeviceId: p.Device, SessionId: session, Events: []*collectv1.ClientEvent{
		{Id: play + "-1", ClientUnixMs: now, Payload: &collectv1.ClientEvent_Started{Started: &eventv1.PlaybackStarted{
			PlayId: play, TrackId: track.ID, QualityKbps: 96, Reason: "click", Transport: "quic",
		}}},
		{Id: play + "-2", ClientUnixMs: now, Payload: &collectv1.ClientEvent_Ended{Ended: &eventv1.PlaybackEnded{
			PlayId: play, TrackId: track.ID, HeardMs: uint64(track.DurationMS), Reason: "track_end",
		}}},
	}}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); wait(p.Context(), 100*time.Millisecond) {
		ctx, cancel := context.WithTimeout(p.Context(), 5*time.Second)
		res, err := p.Collect.SendEvents(ctx, req)
		cancel()
		if err == nil {
			return len(res.GetRefused()) == 0
		}
		if p.Context().Err() != nil {
			return false
		}
		if err := p.renew(); err != nil {
			continue // user may be what is away
		}
	}
	p.d.Errorf("%s could not tell of a play for a minute", p.Name)
	return false
}

// replayed calls f with every event that a topic ever had.
func (d *deployment) replayed(admin *person, topic string, f func(*eventv1.Envelope)) {
	d.Helper()
	stream, err := admin.Audit.ReplayEvents(d.Context(), &warehousev1.ReplayEventsRequest{Topic: topic})
	if err != nil {
		d.Fatal(err)
	}
	defer stream.Close()
	for stream.Receive() {
		for _, e := range stream.Msg().GetEvents() {
			f(e.GetEnvelope())
		}
	}
	if err := stream.Err(); err != nil {
		d.Fatal(err)
	}
}

// played are the listens by play, each event once, and how many were there again.
func (d *deployment) played(admin *person) (all map[string]string, doubled int) {
	d.Helper()
	all = map[string]string{}
	seen := map[string]bool{}
	d.replayed(admin, "track-played-events", func(e *eventv1.Envelope) {
		if seen[e.GetId()] {
			doubled++
			return
		}
		seen[e.GetId()] = true
		var m eventv1.TrackPlayed
		if err := e.GetPayload().UnmarshalTo(&m); err != nil {
			d.Fatal(err)
		}
		if _, ok := all[m.GetPlayId()]; ok {
			d.Errorf("play %s is two listens with ids of their own", m.GetPlayId())
		}
		all[m.GetPlayId()] = m.GetTrackId()
	})
	return all, doubled
}

// recounted are the plays that their own events say were heard: ended by the listener, and
// served to the end.
func (d *deployment) recounted(admin *person, length uint64) map[string]string {
	d.Helper()
	ended, served, seen := map[string]string{}, map[string]uint64{}, map[string]bool{}
	d.replayed(admin, "playback-events", func(e *eventv1.Envelope) {
		if seen[e.GetId()] {
			return
		}
		seen[e.GetId()] = true
		m, err := e.GetPayload().UnmarshalNew()
		if err != nil {
			d.Fatal(err)
		}
		switch m := m.(type) {
		case *eventv1.PlaybackEnded:
			ended[m.GetPlayId()] = m.GetTrackId()
		case *eventv1.StreamServed:
			served[m.GetPlayId()] += m.GetServedMs()
		}
	})
	maps.DeleteFunc(ended, func(play, _ string) bool { return served[play] < length*9/10 })
	return ended
}
