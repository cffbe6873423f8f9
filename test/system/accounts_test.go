//go:build system

package system

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/stream/wire"
)

// accounts: an admin makes a listener, who may listen and nothing else, and who decides
// over the devices that are signed in.
func accounts(d *deployment) {
	admin := d.admin()
	anna := d.listener(admin, "anna")
	d.refusesListeners(admin, anna)

	// Two devices; one ends the other.
	other := d.signIn("anna", personPass)
	list, err := anna.Accounts.ListSessions(d.Context(), &userv1.ListSessionsRequest{})
	if err != nil || len(list.GetSessions()) != 2 {
		d.Fatalf("sessions: %v %v", list.GetSessions(), err)
	}
	for _, s := range list.GetSessions() {
		if !s.GetCurrent() {
			if _, err := anna.Accounts.RevokeSession(d.Context(), &userv1.RevokeSessionRequest{Id: s.GetId()}); err != nil {
				d.Fatal(err)
			}
		}
	}
	if err := other.renew(); err == nil {
		d.Error("a revoked device was given a new token")
	}
	if err := anna.renew(); err != nil {
		d.Errorf("the other device was ended too: %v", err)
	}
	_, err = anna.Accounts.RevokeSession(d.Context(), &userv1.RevokeSessionRequest{Id: newID()})
	d.wantCode("revoke a session of nobody", err, connect.CodeNotFound)
	d.changesSelf(admin, anna)
	d.must("keys", "rotate", "objects")
	if out := d.must("keys", "list"); strings.Count(out, "objects") != 2 || strings.Count(out, "in use") != 8 {
		d.Errorf("seguectl lists the keys %s", out)
	}
}

// refusesListeners tries what a listener may not do.
func (d *deployment) refusesListeners(admin, anna *person) {
	d.Helper()
	ctx := d.Context()
	if _, status := anna.send("mine.flac", []byte("fLaC")); status != http.StatusForbidden {
		d.Errorf("a listener's upload: status %d", status)
	}
	_, err := anna.Uploads.ListUploads(ctx, &uploadv1.ListUploadsRequest{})
	d.wantCode("uploads", err, connect.CodePermissionDenied)
	_, err = anna.Accounts.ListAccounts(ctx, &userv1.ListAccountsRequest{})
	d.wantCode("accounts", err, connect.CodePermissionDenied)
	search, err := anna.Audit.SearchEvents(ctx, &warehousev1.SearchEventsRequest{})
	if err == nil {
		search.Receive()
		err = search.Err()
		_ = search.Close()
	}
	d.wantCode("the audit", err, connect.CodePermissionDenied)
	nobody := &person{d: d, access: "none"}
	_, err = userv1connect.NewAccountServiceClient(nobody, d.URL).GetMe(ctx, &userv1.GetMeRequest{})
	d.wantCode("a token of nobody", err, connect.CodeUnauthenticated)
	d.until(15*time.Second, "the refusals in the audit", func() error {
		if told := d.events(admin, "AccessRefused", "user:"+anna.ID); len(told) == 0 {
			return errors.New("no event AccessRefused")
		}
		return nil
	})
}

// changesSelf changes what is a listener's own, and what is the admin's to change.
func (d *deployment) changesSelf(admin, anna *person) {
	d.Helper()
	ctx := d.Context()
	me, err := anna.Accounts.GetMe(ctx, &userv1.GetMeRequest{})
	if err != nil {
		d.Fatal(err)
	}
	name := "Anna <b>K</b>"
	changed, err := anna.Accounts.UpdateMe(ctx, &userv1.UpdateMeRequest{DisplayName: &name, Revision: me.GetAccount().GetRevision()})
	if err != nil || changed.GetAccount().GetDisplayName() != name {
		d.Errorf("update me: %v %v", changed, err)
	}
	_, err = anna.Accounts.UpdateMe(ctx, &userv1.UpdateMeRequest{DisplayName: &name, Revision: me.GetAccount().GetRevision()})
	d.wantCode("a change against an older revision", err, connect.CodeAborted)
	_, err = anna.Accounts.ChangePassword(ctx, &userv1.ChangePasswordRequest{Current: "wrong", Replacement: "another one of theirs"})
	if err == nil {
		d.Error("the password was changed without the present one")
	}
	if _, err = anna.Accounts.ChangePassword(ctx, &userv1.ChangePasswordRequest{Current: personPass, Replacement: "another one of theirs"}); err != nil {
		d.Fatal(err)
	}
	if err := (&person{d: d, Name: "anna"}).signIn(personPass); err == nil {
		d.Error("the old password still signs in")
	}
	d.signIn("anna", "another one of theirs")

	list, err := admin.Accounts.ListAccounts(ctx, &userv1.ListAccountsRequest{PageSize: 200})
	if err != nil {
		d.Fatal(err)
	}
	for _, a := range list.GetAccounts() {
		if a.GetUsername() != "anna" {
			continue
		}
		yes := true
		if _, err := admin.Accounts.UpdateAccount(ctx, &userv1.UpdateAccountRequest{Id: a.GetId(), Disabled: &yes, Revision: a.GetRevision()}); err != nil {
			d.Fatal(err)
		}
	}
	if err := anna.renew(); err == nil {
		d.Error("a disabled account was given a new token")
	}
	if out := d.must("user", "list"); !strings.Contains(out, "disabled") {
		d.Errorf("seguectl lists %s", out)
	}
}

// market hides a track where it may not be heard: from lists, and from a PLAY. Its owner
// has it all the same.
func market(d *deployment) {
	admin := d.admin()
	ben := d.listener(admin, "ben")
	// A track of its own: an instance may remember for a minute where it could be heard.
	track := d.shared("Of some markets").ID
	sees := func(p *person) bool {
		list, err := p.Catalogue.ListTracks(d.Context(), &metadatav1.ListTracksRequest{PageSize: 1000})
		if err != nil {
			d.Fatal(err)
		}
		got, err := p.Catalogue.GetTracks(d.Context(), &metadatav1.GetTracksRequest{Ids: []string{track}})
		if err != nil {
			d.Fatal(err)
		}
		listed := false
		for _, t := range list.GetTracks() {
			listed = listed || t.GetId() == track
		}
		if listed != (len(got.GetTracks()) == 1) {
			d.Errorf("%s: listed is %v, read is %d", p.Name, listed, len(got.GetTracks()))
		}
		return listed
	}
	sessions := map[*person]*listening{admin: admin.open(false), ben: ben.open(false)}
	plays := func(p *person) error {
		_, _, _, err := sessions[p].sound(track, wire.Kbps24)
		return err
	}
	if _, _, _, err := sessions[ben].sound(newID(), wire.Kbps24); !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
		d.Errorf("a PLAY of no track: %v", err)
	}
	if !sees(ben) || plays(ben) != nil {
		d.Fatal("the track is not there before")
	}
	d.setMarkets(admin, track, "DE")
	if sees(ben) || !sees(admin) {
		d.Errorf("with market DE: the listener sees it: %v, the owner: %v", sees(ben), sees(admin))
	}
	d.until(10*time.Second, "NOT_ENTITLED", func() error {
		if err := plays(ben); !errors.Is(err, &wire.Error{Code: wire.NotEntitled}) {
			return errorf("a PLAY in another market: %v", err)
		}
		return nil
	})
	if err := plays(admin); err != nil {
		d.Errorf("the owner's PLAY: %v", err)
	}
	d.setMarkets(admin, track)
	d.until(10*time.Second, "the track", func() error { return plays(ben) })
	_, err := ben.Catalogue.SetAvailability(d.Context(), &metadatav1.SetAvailabilityRequest{TrackId: track, Availability: &metadatav1.Availability{}})
	d.wantCode("a listener sets a market", err, connect.CodePermissionDenied)
}

func (d *deployment) setMarkets(admin *person, track string, markets ...string) {
	d.Helper()
	now, err := admin.Catalogue.GetTracks(d.Context(), &metadatav1.GetTracksRequest{Ids: []string{track}})
	if err != nil || len(now.GetTracks()) != 1 {
		d.Fatalf("track: %v %v", now, err)
	}
	_, err = admin.Catalogue.SetAvailability(d.Context(), &metadatav1.SetAvailabilityRequest{
		TrackId: track, Revision: now.GetTracks()[0].GetRevision(), Availability: &metadatav1.Availability{Markets: markets},
	})
	if err != nil {
		d.Fatal(err)
	}
}

// deletedAccount removes a listener: what events said of the person cannot be read any
// more, what happened stays. Of another listener it can be read.
func deletedAccount(d *deployment) {
	admin := d.admin()
	carl, dora := d.listener(admin, "carl"), d.listener(admin, "dora")
	carl.activate(d.shared("Long one").ID)
	session := carl.open(false)
	if _, err := admin.Accounts.DeleteAccount(d.Context(), &userv1.DeleteAccountRequest{Id: carl.ID}); err != nil {
		d.Fatal(err)
	}
	if err := carl.renew(); err == nil {
		d.Error("a deleted account was given a new token")
	}
	d.until(15*time.Second, "the end of the deleted listener's session", func() error {
		if _, _, _, err := session.sound(d.shared("Long one").ID, wire.Kbps24); !errors.Is(err, &wire.Error{Code: wire.TicketInvalid}) {
			return errorf("a PLAY of a deleted listener: %v", err)
		}
		return nil
	})
	var of []logged
	d.until(15*time.Second, "AccountDeleted", func() error {
		of = d.search(admin, &warehousev1.Filter{Subject: "user:" + carl.ID})
		for _, e := range of {
			if e.Type == "AccountDeleted" {
				return nil
			}
		}
		return errorf("%d events", len(of))
	})
	sealed := 0
	for _, e := range of {
		if len(e.Personal) == 0 {
			continue
		}
		if sealed++; string(e.Personal) != `"shredded"` {
			d.Errorf("%s of a deleted listener shows %s", e.Type, e.Personal)
		}
	}
	if sealed < 2 {
		d.Errorf("%d events with personal fields of %d", sealed, len(of))
	}
	open := 0
	for _, e := range d.search(admin, &warehousev1.Filter{Subject: "user:" + dora.ID}) {
		if strings.Contains(string(e.Personal), "dora") {
			open++
		}
	}
	if open == 0 {
		d.Error("the events of a listener who is there show no name to an admin")
	}
}
