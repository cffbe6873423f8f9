package playback_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/fault"
)

// activate makes d the active device, playing or not.
func (d *device) activate(playing bool) *playbackv1.PlayerState {
	d.tb.Helper()
	res, err := d.players(d.who).GetPlayer(d.tb.Context(), &playbackv1.GetPlayerRequest{})
	if err != nil {
		d.tb.Fatal(err)
	}
	up, err := d.players(d.who).UpdatePlayer(d.tb.Context(), &playbackv1.UpdatePlayerRequest{
		Revision: res.GetState().GetRevision(), DeviceId: d.id, Activate: true,
		State: &playbackv1.PlayerState{Queue: []*playbackv1.QueueItem{{TrackId: ident("track", "a")}}, Playing: playing},
	})
	if err != nil {
		d.tb.Fatal(err)
	}
	return up.GetState()
}

func (d *device) renew() {
	d.tb.Helper()
	res, err := d.sessions(d.who).RenewTicket(d.tb.Context(), &playbackv1.RenewTicketRequest{SessionId: d.session.GetSessionId()})
	if err != nil {
		d.tb.Fatal(err)
	}
	d.take(res.GetTicket())
}

func TestFence(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 96)
	phone, desk := f.open(person("ann"), "phone"), f.open(person("ann"), "desk")
	check := func(what, wantPhone, wantDesk string) {
		t.Helper()
		if p, d := phone.fence(), desk.fence(); p != wantPhone || d != wantDesk {
			t.Errorf("%s: phone %s, desk %s; want %s, %s", what, p, d, wantPhone, wantDesk)
		}
	}
	play := func(d *device, prefetch bool) error {
		req := d.play(track.GetId(), 0)
		req.Prefetch = prefetch
		_, err := f.streams().ResolvePlay(t.Context(), req)
		return err
	}
	check("nobody active", "ok", "ok")
	phone.activate(true)
	check("phone active", "ok", "elsewhere")
	wantKind(t, "the phone's play", play(phone, false), 0)
	wantKind(t, "the desk's play", play(desk, false), fault.Conflict)
	wantKind(t, "the desk's prefetch", play(desk, true), 0)
	desk.renew()
	check("a renewal is no activation", "ok", "elsewhere")
	f.restart()
	check("after a restart", "ok", "elsewhere")
	desk.activate(true)
	check("desk active", "elsewhere", "ok")
	phone.renew()
	check("the phone renews", "elsewhere", "ok")
	desk.renew()
	check("the desk renews", "elsewhere", "ok")
	phone.activate(false)
	check("phone active again", "ok", "elsewhere")
	if n := len(payloads[*eventv1.PlayerStateChanged](f, event.Playback)); n != 3 {
		t.Errorf("%d PlayerStateChanged", n)
	}
}

// TestFence_Beside: a session opened after the activation has the newest epoch, and still
// may not play beside an active device that plays.
func TestFence_Beside(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 96)
	phone := f.open(person("ann"), "phone")
	phone.activate(true)
	tv := f.open(person("ann"), "tv")
	if got := tv.fence(); got != "ok" {
		t.Errorf("beside a device of which nothing was served: %s", got)
	}
	_, err := f.streams().ReportServed(t.Context(), &playbackv1.ReportServedRequest{EdgeId: "e", Sequence: 1, Served: []*playbackv1.Served{
		phone.served("p", track.GetId(), 5000),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := tv.fence(); got != "elsewhere" {
		t.Errorf("beside a device that plays: %s", got)
	}
	if _, err := f.streams().ResolvePlay(t.Context(), tv.play(track.GetId(), 0)); err != nil {
		t.Errorf("the start, whose activation may be on its way: %v", err)
	}
	f.advance(time.Minute)
	if got := tv.fence(); got != "ok" {
		t.Errorf("beside a device that has fallen silent: %s", got)
	}
}

func TestFence_Revoked(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 96)
	f.run()
	who, again := person("ann"), person("ann")
	again.LoginID = "second"
	first, second, bob := f.open(who, "phone"), f.open(again, "desk"), f.open(person("bob"), "phone")
	say := func(user string, payload proto.Message) {
		t.Helper()
		env, err := event.New(ident(user, payload), f.now(), "user:"+uid(user), 1, payload)
		if err != nil {
			t.Fatal(err)
		}
		env.UserId = uid(user)
		if err := event.NewPublisher(f.log, event.OwnerUser).Publish(t.Context(), event.UserIdentity, uid(user), env); err != nil {
			t.Fatal(err)
		}
	}
	say("ann", &eventv1.LoggedIn{})
	say("ann", &eventv1.TokenFamilyRevoked{FamilyId: who.LoginID})
	f.until("revocation", func() bool { return first.fence() == "revoked" })
	if got := second.fence(); got != "ok" {
		t.Errorf("the other sign-in: %s", got)
	}
	_, err := f.streams().ResolvePlay(t.Context(), first.play(track.GetId(), 0))
	wantKind(t, "play of a revoked session", err, fault.Unauthenticated)
	_, err = f.sessions(who).RenewTicket(t.Context(), &playbackv1.RenewTicketRequest{SessionId: first.session.GetSessionId()})
	wantKind(t, "renewal of a revoked session", err, fault.NotFound)

	watch, err := f.players(again).WatchPlayer(t.Context(), &playbackv1.WatchPlayerRequest{})
	if err != nil || !watch.Receive() {
		t.Fatal(err, watch.Err())
	}
	say("ann", &eventv1.AccountDeleted{})
	f.until("end of the account", func() bool { return second.fence() == "revoked" })
	if watch.Receive() || fault.KindOf(kindOfStream(watch.Err())) != fault.Unauthenticated {
		t.Errorf("watcher of a deleted account: %v", watch.Err())
	}
	if got := bob.fence(); got != "ok" {
		t.Errorf("another listener: %s", got)
	}
}
