package playback_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
)

// TestAccess calls every method as every kind of caller.
func TestAccess(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 96)
	d := f.open(person("ann"), "phone")
	base := baseKey(track.GetId(), 96)
	as := func(role authv1.Role) identity.Identity {
		who := person("ann")
		who.Roles = []authv1.Role{role}
		return who
	}
	callers := map[string]identity.Identity{
		"nobody": {}, "gateway": service("gateway"), "edge": service("edge"), "upload": service("upload"), "collect": service("collect"),
		"warehouse": service("warehouse"), "listener": as(authv1.Role_ROLE_LISTENER), "artist": as(authv1.Role_ROLE_ARTIST),
		"label": as(authv1.Role_ROLE_LABEL), "admin": as(authv1.Role_ROLE_ADMIN), "no_role": as(authv1.Role_ROLE_UNSPECIFIED),
	}
	people := []string{"listener", "artist", "label", "admin"}
	for name, m := range map[string]struct {
		allowed []string
		call    func(*fixture, identity.Identity) error
	}{
		"OpenSession": {people, func(f *fixture, who identity.Identity) error {
			_, err := f.sessions(who).OpenSession(t.Context(), &playbackv1.OpenSessionRequest{DeviceId: ident("x"), PublicKey: d.private.PublicKey().Bytes()})
			return err
		}},
		"RenewTicket": {people, func(f *fixture, who identity.Identity) error {
			_, err := f.sessions(who).RenewTicket(t.Context(), &playbackv1.RenewTicketRequest{SessionId: d.session.GetSessionId()})
			return err
		}},
		"GetPlayer": {people, func(f *fixture, who identity.Identity) error {
			_, err := f.players(who).GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
			return err
		}},
		"UpdatePlayer": {people, func(f *fixture, who identity.Identity) error {
			res, err := f.players(person("ann")).GetPlayer(t.Context(), &playbackv1.GetPlayerRequest{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.players(who).UpdatePlayer(t.Context(), &playbackv1.UpdatePlayerRequest{
				Revision: res.GetState().GetRevision(), DeviceId: d.id, State: &playbackv1.PlayerState{},
			})
			return err
		}},
		"WatchPlayer": {append([]string{"edge"}, people...), func(f *fixture, who identity.Identity) error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := f.players(who).WatchPlayer(ctx, &playbackv1.WatchPlayerRequest{UserId: uid("ann")})
			if err != nil {
				return err
			}
			if !s.Receive() {
				return kindOfStream(s.Err())
			}
			return nil
		}},
		"ResolvePlay": {[]string{"edge"}, func(f *fixture, who identity.Identity) error {
			_, err := f.streamsAs(who).ResolvePlay(t.Context(), d.play(track.GetId(), 96))
			return err
		}},
		"CheckFences": {[]string{"edge"}, func(f *fixture, who identity.Identity) error {
			_, err := f.streamsAs(who).CheckFences(t.Context(), &playbackv1.CheckFencesRequest{Fences: []*playbackv1.Fence{{UserId: uid("ann"), SessionId: d.session.GetSessionId(), DeviceId: d.id}}})
			return err
		}},
		"ReportServed": {[]string{"edge"}, func(f *fixture, who identity.Identity) error {
			_, err := f.streamsAs(who).ReportServed(t.Context(), &playbackv1.ReportServedRequest{EdgeId: "e"})
			return err
		}},
		"PutKey": {[]string{"upload"}, func(f *fixture, who identity.Identity) error {
			_, err := f.keysAs(who).PutKey(t.Context(), &playbackv1.PutKeyRequest{
				ObjectId: objectOf(track.GetId(), 96), TrackId: track.GetId(), Kbps: 96, Kid: 1, SealId: make([]byte, 16), BaseKey: base[:],
			})
			return err
		}},
		"RecordEvents": {[]string{"collect"}, func(f *fixture, who identity.Identity) error {
			_, err := f.recordsAs(who).RecordEvents(t.Context(), &playbackv1.RecordEventsRequest{})
			return err
		}},
	} {
		for caller, who := range callers {
			t.Run(name+"/"+caller, func(t *testing.T) {
				err := m.call(f, who)
				switch allowed := slices.Contains(m.allowed, caller); {
				case allowed && err != nil:
					t.Errorf("refused: %v", err)
				case !allowed && fault.KindOf(err) != fault.Denied && fault.KindOf(err) != fault.Unauthenticated:
					t.Errorf("not refused: %v", err)
				}
			})
		}
	}
}

// kindOfStream is the kind of a stream's error, which has kept its Connect code.
func kindOfStream(err error) error {
	switch connect.CodeOf(err) {
	case connect.CodePermissionDenied:
		return fault.New(fault.Denied, err.Error())
	case connect.CodeUnauthenticated:
		return fault.New(fault.Unauthenticated, err.Error())
	default:
		return err
	}
}

// unwrap opens the content key of an answer as the device does.
func (d *device) unwrap(res *playbackv1.ResolvePlayResponse) ([16]byte, error) {
	sid, err := id.Parse(d.session.GetSessionId())
	if err != nil {
		return [16]byte{}, err
	}
	kek, err := seal.OpenSessionKey(d.private, sid, d.session.GetSealedKey())
	if err != nil {
		return [16]byte{}, err
	}
	var object [16]byte
	for i := range object {
		object[i] = unhex(res.GetObjectId()[2*i])<<4 | unhex(res.GetObjectId()[2*i+1])
	}
	return seal.UnwrapKey(kek, res.GetWrappedKey(), object, [16]byte{}, res.GetKid(), sid)
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// TestSession_KeyAcrossRotations: the device opens content keys with the key that it was
// given once, however often tickets are renewed, until its ticket key is too old.
func TestSession_KeyAcrossRotations(t *testing.T) {
	f := setUp(t)
	track := f.addTrack("a", 160)
	d := f.open(person("ann"), "phone")
	for rotation := range 3 {
		for _, keyID := range []uint32{d.ticket.SessionKeyID, 0} { // 0: an edge that does not say
			req := d.play(track.GetId(), 160)
			req.SessionKeyId = keyID
			res, err := f.streams().ResolvePlay(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := d.unwrap(res); err != nil || got != baseKey(track.GetId(), 160) {
				t.Fatalf("after %d rotations: key %x, %v", rotation, got, err)
			}
		}
		if rotation == 1 {
			f.restart()
		}
		if _, err := f.ring.Rotate(keyring.Ticket); err != nil {
			t.Fatal(err)
		}
		f.advance(5 * time.Minute)
		if rotation == 2 {
			break
		}
		res, err := f.sessions(d.who).RenewTicket(t.Context(), &playbackv1.RenewTicketRequest{SessionId: d.session.GetSessionId()})
		if err != nil {
			t.Fatal(err)
		}
		d.take(res.GetTicket())
		if got := d.ticket.Expires.Sub(f.now()); got != 10*time.Minute {
			t.Errorf("renewed for %v", got)
		}
	}
	f.advance(keyring.Ticket.Life() + time.Hour)
	if _, err := f.ring.Rotate(keyring.Ticket); err != nil {
		t.Fatal(err)
	}
	f.advance(time.Minute)
	_, err := f.streams().ResolvePlay(t.Context(), d.play(track.GetId(), 160))
	wantKind(t, "play after the key's life", err, fault.Unauthenticated)
	_, err = f.sessions(d.who).RenewTicket(t.Context(), &playbackv1.RenewTicketRequest{SessionId: d.session.GetSessionId()})
	wantKind(t, "renewal after the key's life", err, fault.Unauthenticated)
}

func TestSession_Open(t *testing.T) {
	f := setUp(t)
	d := f.open(person("ann"), "phone")
	if d.session.GetMaxKbps() != 320 || len(d.session.GetEndpoints()) != 1 || d.session.GetServerUnixMs() != f.now().UnixMilli() {
		t.Errorf("session %v", d.session)
	}
	if got := d.ticket; got.UserID.String() != d.who.UserID || got.DeviceID.String() != d.id || got.Market != "DE" || !got.ExplicitAllowed {
		t.Errorf("ticket %+v", got)
	}
	if n := len(payloads[*eventv1.SessionOpened](f, event.Playback)); n != 1 {
		t.Errorf("%d SessionOpened", n)
	}
	_, err := f.sessions(person("ann")).OpenSession(t.Context(), &playbackv1.OpenSessionRequest{DeviceId: d.id, PublicKey: make([]byte, 32)})
	wantKind(t, "a key of low order", err, fault.Invalid)
	_, err = f.sessions(person("eve")).RenewTicket(t.Context(), &playbackv1.RenewTicketRequest{SessionId: d.session.GetSessionId()})
	wantKind(t, "renewal by another listener", err, fault.NotFound)

	poorer := person("ann")
	poorer.Plan, poorer.Market = "free", "FR"
	f.conf.FreeMaxKbps = 160
	f.restart()
	res, err := f.sessions(poorer).RenewTicket(t.Context(), &playbackv1.RenewTicketRequest{SessionId: d.session.GetSessionId()})
	if err != nil {
		t.Fatal(err)
	}
	d.take(res.GetTicket())
	if d.ticket.Market != "FR" || d.ticket.MaxKbps != 160 {
		t.Errorf("renewed ticket %+v", d.ticket)
	}
}

func TestPutKey(t *testing.T) {
	f := setUp(t)
	base := bytes.Repeat([]byte{7}, 16)
	good := func() *playbackv1.PutKeyRequest {
		return &playbackv1.PutKeyRequest{
			ObjectId: objectOf("x", 1), TrackId: ident("t"), Kbps: 96, Kid: 1, SealId: bytes.Repeat([]byte{3}, 16), BaseKey: base,
		}
	}
	for _, c := range []struct {
		name   string
		change func(*playbackv1.PutKeyRequest)
		want   fault.Kind
	}{
		{"first", func(*playbackv1.PutKeyRequest) {}, 0},
		{"repeat", func(*playbackv1.PutKeyRequest) {}, 0},
		{"other_key", func(r *playbackv1.PutKeyRequest) { r.BaseKey = make([]byte, 16) }, fault.Conflict},
		{"other_seal", func(r *playbackv1.PutKeyRequest) { r.SealId = make([]byte, 16) }, fault.Conflict},
		{"other_track", func(r *playbackv1.PutKeyRequest) { r.TrackId = ident("u") }, fault.Conflict},
		{"other_kid", func(r *playbackv1.PutKeyRequest) { r.Kid = 2 }, fault.Conflict},
		{"short_key", func(r *playbackv1.PutKeyRequest) { r.BaseKey = base[:15] }, fault.Invalid},
		{"odd_quality", func(r *playbackv1.PutKeyRequest) { r.Kbps = 128 }, fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := good()
			c.change(req)
			_, err := f.keys().PutKey(t.Context(), req)
			wantKind(t, "put", err, c.want)
		})
	}
	k, err := f.store.ContentKey(t.Context(), objectOf("x", 1))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(k.Wrapped, base) || k.MasterID != 1 {
		t.Errorf("at rest: master key %d, %x", k.MasterID, k.Wrapped)
	}
	// The repeat is still the same after the master key was rotated.
	if _, err := f.ring.Rotate(keyring.Master); err != nil {
		t.Fatal(err)
	}
	f.restart()
	_, err = f.keys().PutKey(t.Context(), good())
	wantKind(t, "repeat after a rotation", err, 0)
}
