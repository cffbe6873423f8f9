package user_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/segue-music/segue/event"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
)

const listener, artist, label, administrator = authv1.Role_ROLE_LISTENER, authv1.Role_ROLE_ARTIST, authv1.Role_ROLE_LABEL, authv1.Role_ROLE_ADMIN

// create makes an account by the admin.
func (f *fixture) create(name string, roles ...authv1.Role) *userv1.Account {
	f.Helper()
	if len(roles) == 0 {
		roles = []authv1.Role{listener}
	}
	res, err := f.admin().CreateAccount(f.Context(), &userv1.CreateAccountRequest{
		Username: name, Password: "password of " + name, Roles: roles, Email: name + "@example.org", DisplayName: "The " + name,
	})
	if err != nil {
		f.Fatal(err)
	}
	return res.GetAccount()
}

// call is a method with a request that passes validation; it may still be refused for
// what it asks.
type call struct {
	name  string
	roles []authv1.Role
	run   func(ctx context.Context, c userv1connect.AccountServiceClient) error
}

func calls(other string) []call {
	everyone := []authv1.Role{listener, artist, label, administrator}
	onlyAdmin := []authv1.Role{administrator}
	missing := strings.Repeat("1", 22)
	return []call{
		{"GetMe", everyone, func(ctx context.Context, c userv1connect.AccountServiceClient) error {
			_, err := c.GetMe(ctx, &userv1.GetMeRequest{})
			return err
		}},
		{"UpdateMe", everyone, func(ctx context.Context, c userv1connect.AccountServiceClient) error {
			_, err := c.UpdateMe(ctx, &userv1.UpdateMeRequest{Revision: 99})
			return err
		}},
		{"ChangePassword", everyone, func(ctx context.Context, c userv1connect.AccountServiceClient) error {
			_, err := c.ChangePassword(ctx, &userv1.ChangePasswordRequest{Current: "wrong", Replacement: "long enough"})
			if connect.CodeOf(err) == connect.CodePermissionDenied && strings.Contains(err.Error(), "current password is wrong") {
				return nil // the service's word, not the door's
			}
			return err
		}},
		{"CreateAccount", onlyAdmin, func(ctx context.Context, c userv1connect.AccountServiceClient) error {
			_, err := c.CreateAccount(ctx, &userv1.CreateAccountRequest{Username: "admin", Password: "long enough", Roles: []authv1.Role{administrator}})
			return err
		}},
		{"ListAccounts", onlyAdmin, func(ctx context.Context, c userv1connect.AccountServiceClient) error {
			_, err := c.ListAccounts(ctx, &userv1.ListAccountsRequest{})
			return err
		}},
		{"UpdateAccount", onlyAdmin, func(ctx context.Context, c userv1connect.AccountServiceClient) error {
			_, err := c.UpdateAccount(ctx, &userv1.UpdateAccountRequest{Id: other, Roles: []authv1.Role{administrator}, Revision: 99})
			return err
		}},
		{"DeleteAccount", onlyAdmin, func(ctx context.Context, c userv1connect.AccountServiceClient) error {
			_, err := c.DeleteAccount(ctx, &userv1.DeleteAccountRequest{Id: missing})
			return err
		}},
		{"ListSessions", everyone, func(ctx context.Context, c userv1connect.AccountServiceClient) error {
			_, err := c.ListSessions(ctx, &userv1.ListSessionsRequest{})
			return err
		}},
		{"RevokeSession", everyone, func(ctx context.Context, c userv1connect.AccountServiceClient) error {
			_, err := c.RevokeSession(ctx, &userv1.RevokeSessionRequest{Id: missing})
			return err
		}},
	}
}

// TestRPC_Access asks every method as every role, as nobody, and as another service.
func TestRPC_Access(t *testing.T) {
	f := setUp(t)
	a := f.create("someone")
	callers := map[string]struct {
		who   identity.Identity
		roles []authv1.Role
		none  connect.Code
	}{
		"nobody":   {identity.Identity{Target: "gateway"}, nil, connect.CodeUnauthenticated},
		"no_token": {identity.Identity{}, nil, connect.CodeUnauthenticated},
		"service":  {identity.Identity{Target: "edge", UserID: a.GetId(), Roles: []authv1.Role{administrator}}, nil, connect.CodePermissionDenied},
		"no_roles": {identity.Identity{Target: "gateway", UserID: a.GetId()}, nil, connect.CodePermissionDenied},
	}
	for _, r := range []authv1.Role{listener, artist, label, administrator} {
		roles := []authv1.Role{r}
		who := identity.Identity{Target: "gateway", UserID: a.GetId(), Roles: roles}
		callers[r.String()] = struct {
			who   identity.Identity
			roles []authv1.Role
			none  connect.Code
		}{who, roles, connect.CodePermissionDenied}
	}
	for name, c := range callers {
		for _, m := range calls(f.adminID) {
			t.Run(name+"/"+m.name, func(t *testing.T) {
				err := m.run(t.Context(), userv1connect.NewAccountServiceClient(f.rpc.As(c.who), rpctest.URL))
				code := connect.CodeOf(err)
				allowed := false
				for _, r := range c.roles {
					allowed = allowed || bytes.Contains(fmt.Append(nil, m.roles), fmt.Append(nil, r))
				}
				if allowed && (err != nil && (code == connect.CodePermissionDenied || code == connect.CodeUnauthenticated || code == connect.CodeInternal)) {
					t.Errorf("refused: %v", err)
				}
				if !allowed && (err == nil || code != c.none) {
					t.Errorf("%v, want %s", err, c.none)
				}
			})
		}
	}
}

func TestRPC_ListenerKeyAccess(t *testing.T) {
	f := setUp(t)
	a := f.create("someone")
	for target, want := range map[string]connect.Code{
		"collect": 0, "playback": 0, "upload": 0, "warehouse": 0, "gateway": connect.CodePermissionDenied, "edge": connect.CodePermissionDenied, "": connect.CodeUnauthenticated,
	} {
		t.Run(target, func(t *testing.T) {
			c := userv1connect.NewListenerKeyServiceClient(f.rpc.As(identity.Identity{Target: target}), rpctest.URL)
			got, err := c.GetListenerKey(t.Context(), &userv1.GetListenerKeyRequest{UserId: a.GetId()})
			if want != 0 {
				if connect.CodeOf(err) != want {
					t.Errorf("%v, want %s", err, want)
				}
				return
			}
			id, key, err2 := f.service.Key(t.Context(), a.GetId())
			if err := errors.Join(err, err2); err != nil || got.GetKeyId() != id || !bytes.Equal(got.GetKey(), key[:]) {
				t.Errorf("%v, %v; want %s", got, err, id)
			}
		})
	}
}

func TestAccounts_Create(t *testing.T) {
	f := setUp(t)
	a := f.create("anna", artist, listener)
	want := &userv1.Account{
		Id: a.GetId(), Username: "anna", DisplayName: "The anna", Email: "anna@example.org", Roles: []authv1.Role{listener, artist},
		Market: "US", Plan: "premium", ExplicitAllowed: true, Revision: 1, CreatedUnixMs: f.now().UnixMilli(),
	}
	if d := cmp.Diff(want, a, protocmp.Transform()); d != "" {
		t.Errorf("account (-want +got):\n%s", d)
	}
	cases := map[string]struct {
		change func(*userv1.CreateAccountRequest)
		code   connect.Code
	}{
		"taken":         {func(r *userv1.CreateAccountRequest) { r.Username = "anna" }, connect.CodeAlreadyExists},
		"upper_case":    {func(r *userv1.CreateAccountRequest) { r.Username = "Bert" }, connect.CodeInvalidArgument},
		"path":          {func(r *userv1.CreateAccountRequest) { r.Username = "../bert" }, connect.CodeInvalidArgument},
		"long_name":     {func(r *userv1.CreateAccountRequest) { r.Username = strings.Repeat("b", 64) }, connect.CodeInvalidArgument},
		"short_secret":  {func(r *userv1.CreateAccountRequest) { r.Password = "1234567" }, connect.CodeInvalidArgument},
		"long_secret":   {func(r *userv1.CreateAccountRequest) { r.Password = strings.Repeat("x", 1025) }, connect.CodeInvalidArgument},
		"no_role":       {func(r *userv1.CreateAccountRequest) { r.Roles = nil }, connect.CodeInvalidArgument},
		"role_0":        {func(r *userv1.CreateAccountRequest) { r.Roles = []authv1.Role{0} }, connect.CodeInvalidArgument},
		"role_9":        {func(r *userv1.CreateAccountRequest) { r.Roles = []authv1.Role{9} }, connect.CodeInvalidArgument},
		"role_twice":    {func(r *userv1.CreateAccountRequest) { r.Roles = []authv1.Role{1, 1} }, connect.CodeInvalidArgument},
		"market":        {func(r *userv1.CreateAccountRequest) { r.Market = "se" }, connect.CodeInvalidArgument},
		"email":         {func(r *userv1.CreateAccountRequest) { r.Email = "no address" }, connect.CodeInvalidArgument},
		"email_header":  {func(r *userv1.CreateAccountRequest) { r.Email = "Anna <a@b.example>" }, connect.CodeInvalidArgument},
		"line_break":    {func(r *userv1.CreateAccountRequest) { r.DisplayName = "a\nb" }, connect.CodeInvalidArgument},
		"turned_round":  {func(r *userv1.CreateAccountRequest) { r.DisplayName = "a\u202eb" }, connect.CodeInvalidArgument},
		"invisible":     {func(r *userv1.CreateAccountRequest) { r.DisplayName = "\u200b" }, connect.CodeInvalidArgument},
		"nothing_wrong": {func(*userv1.CreateAccountRequest) {}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &userv1.CreateAccountRequest{Username: "bert", Password: "long enough", Roles: []authv1.Role{listener}}
			c.change(r)
			_, err := f.admin().CreateAccount(t.Context(), r)
			if c.code == 0 && err != nil || c.code != 0 && connect.CodeOf(err) != c.code {
				t.Errorf("%v, want %s", err, c.code)
			}
		})
	}
}

func TestAccounts_CreateOnce(t *testing.T) {
	f := setUp(t)
	r := &userv1.CreateAccountRequest{Username: "anna", Password: "long enough", Roles: []authv1.Role{listener}, IdempotencyKey: "k"}
	first, err := f.admin().CreateAccount(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.admin().CreateAccount(t.Context(), r)
	if err != nil || cmp.Diff(first, again, protocmp.Transform()) != "" {
		t.Errorf("repeat: %v, %v; want %v", again, err, first)
	}
	r.Password = "another password" // of which no trace is kept to compare with
	if again, err := f.admin().CreateAccount(t.Context(), r); err != nil || again.GetAccount().GetId() != first.GetAccount().GetId() {
		t.Errorf("repeat with another password: %v, %v", again, err)
	}
	other, _ := proto.Clone(r).(*userv1.CreateAccountRequest)
	other.Username = "bert"
	if _, err := f.admin().CreateAccount(t.Context(), other); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("the key with another request: %v", err)
	}
	r.IdempotencyKey = ""
	if _, err := f.admin().CreateAccount(t.Context(), r); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("without the key: %v", err)
	}
	if n := len(f.named("AccountCreated")); n != 2 { // anna and the admin
		t.Errorf("%d events, want 2", n)
	}
}

func TestAccounts_List(t *testing.T) {
	f := setUp(t)
	want := []string{"admin"}
	for i := range 5 {
		f.pass(time.Second)
		want = append(want, f.create(fmt.Sprintf("p%d", i)).GetUsername())
	}
	var got []string
	token := ""
	for range 10 {
		page, err := f.admin().ListAccounts(t.Context(), &userv1.ListAccountsRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.GetAccounts() {
			got = append(got, a.GetUsername())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("accounts (-want +got):\n%s", d)
	}
	for _, bad := range []string{"x", "%%%", "MTIz", strings.Repeat("A", 500)} {
		if _, err := f.admin().ListAccounts(t.Context(), &userv1.ListAccountsRequest{PageToken: bad}); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("page token %q: %v", bad, err)
		}
	}
}

func TestAccounts_Update(t *testing.T) {
	f := setUp(t)
	a := f.create("anna")
	off, plan := true, "free"
	res, err := f.admin().UpdateAccount(t.Context(), &userv1.UpdateAccountRequest{
		Id: a.GetId(), Roles: []authv1.Role{label, artist}, Plan: &plan, Disabled: &off, Revision: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	want, _ := proto.Clone(a).(*userv1.Account)
	want.Roles, want.Plan, want.Disabled, want.Revision = []authv1.Role{artist, label}, "free", true, 2
	if d := cmp.Diff(want, res.GetAccount(), protocmp.Transform()); d != "" {
		t.Errorf("account (-want +got):\n%s", d)
	}
	for name, c := range map[string]struct {
		revision uint64
		code     connect.Code
	}{"stale": {1, connect.CodeAborted}, "ahead": {3, connect.CodeAborted}, "missing": {0, connect.CodeInvalidArgument}} {
		if _, err := f.admin().UpdateAccount(t.Context(), &userv1.UpdateAccountRequest{Id: a.GetId(), Disabled: &off, Revision: c.revision}); connect.CodeOf(err) != c.code {
			t.Errorf("%s revision: %v, want %s", name, err, c.code)
		}
	}
	same, err := f.admin().UpdateAccount(t.Context(), &userv1.UpdateAccountRequest{Id: a.GetId(), Disabled: &off, Revision: 2})
	if err != nil || same.GetAccount().GetRevision() != 2 {
		t.Errorf("a change of nothing: %v, %v", same, err)
	}
	events := f.named("AccountUpdated")
	if len(events) != 1 {
		t.Fatalf("%d events, want 1", len(events))
	}
	var p eventv1.AccountUpdated
	if err := events[0].GetPayload().UnmarshalTo(&p); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"roles", "disabled", "plan"}, p.GetFields()); d != "" || events[0].GetActorId() != f.adminID || events[0].GetUserId() != a.GetId() {
		t.Errorf("event %v", events[0])
	}
	if p, err := event.Open(t.Context(), f.service, events[0]); err != nil || p.GetIp() != "" || p.GetUserAgent() != "" {
		t.Errorf("the admin's address stands under anna's key: %v, %v", p, err)
	}
	_, err = f.admin().UpdateAccount(t.Context(), &userv1.UpdateAccountRequest{Id: f.adminID, Disabled: &off, Revision: 1})
	if connect.CodeOf(err) != connect.CodeAborted || !strings.Contains(err.Error(), "last admin") {
		t.Errorf("the last admin: %v", err)
	}
}

func TestMe(t *testing.T) {
	f := setUp(t)
	a := f.create("anna")
	me := f.as(a.GetId(), "", listener)
	name, market, no := "  Anna Ö ", "DE", false
	res, err := me.UpdateMe(t.Context(), &userv1.UpdateMeRequest{DisplayName: &name, Market: &market, ExplicitAllowed: &no, Revision: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := me.GetMe(t.Context(), &userv1.GetMeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want, _ := proto.Clone(a).(*userv1.Account)
	want.DisplayName, want.Market, want.ExplicitAllowed, want.Revision = "Anna Ö", "DE", false, 2
	if d := cmp.Diff(want, got.GetAccount(), protocmp.Transform()) + cmp.Diff(want, res.GetAccount(), protocmp.Transform()); d != "" {
		t.Errorf("account (-want +got):\n%s", d)
	}
	if _, err := me.UpdateMe(t.Context(), &userv1.UpdateMeRequest{DisplayName: &name, Revision: 1}); connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("stale: %v", err)
	}
}

// TestMe_Race: of many changes of one revision one succeeds.
func TestMe_Race(t *testing.T) {
	f := setUp(t)
	a := f.create("anna")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		name := fmt.Sprint("name ", i)
		wg.Go(func() {
			_, errs[i] = f.as(a.GetId(), "", listener).UpdateMe(t.Context(), &userv1.UpdateMeRequest{DisplayName: &name, Revision: 1})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if connect.CodeOf(err) != connect.CodeAborted {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d succeeded", won)
	}
}

func TestEvents_Sealed(t *testing.T) {
	f := setUp(t)
	a := f.create("anna")
	me := f.as(a.GetId(), "", listener)
	email := "new@example.org"
	if _, err := me.UpdateMe(t.Context(), &userv1.UpdateMeRequest{Email: &email, Revision: 1}); err != nil {
		t.Fatal(err)
	}
	b := f.browser()
	if in := b.submit(b.authorize("web"), "anna", "password of anna"); in.location == nil {
		t.Fatal(in.body)
	}
	want := map[string]*eventv1.Personal{
		"AccountCreated": {Username: "anna", DisplayName: "The anna", Email: "anna@example.org"},
		"AccountUpdated": {Email: email, Ip: "203.0.113.7", UserAgent: "agent/1"},
		"LoggedIn":       {Username: "anna", Ip: "203.0.113.7", UserAgent: "Go-http-client/1.1"},
	}
	all, err := f.events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		raw, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"anna", "example.org", "203.0.113", "agent/1", "Go-http"} {
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%s holds %q in the clear", e.GetType(), secret)
			}
		}
		if e.GetUserId() != a.GetId() {
			continue
		}
		p, err := event.Open(t.Context(), f.service, e)
		if d := cmp.Diff(want[e.GetType()], p, protocmp.Transform()); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", e.GetType(), err, d)
		}
		delete(want, e.GetType())
	}
	if len(want) > 0 {
		t.Errorf("no events of %v", want)
	}

	// With the account its key goes, and with the key what was sealed.
	if _, err := f.admin().DeleteAccount(t.Context(), &userv1.DeleteAccountRequest{Id: a.GetId()}); err != nil {
		t.Fatal(err)
	}
	if _, err := event.Open(t.Context(), f.service, all[len(all)-1]); !errors.Is(err, event.ErrShredded) {
		t.Errorf("after deletion: %v", err)
	}
	keys := userv1connect.NewListenerKeyServiceClient(f.rpc.As(identity.Identity{Target: "playback"}), rpctest.URL)
	if _, err := keys.GetListenerKey(t.Context(), &userv1.GetListenerKeyRequest{UserId: a.GetId()}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("key after deletion: %v", err)
	}
	if n := len(f.named("AccountDeleted")); n != 1 {
		t.Errorf("%d events AccountDeleted", n)
	}
	if _, err := f.admin().DeleteAccount(t.Context(), &userv1.DeleteAccountRequest{Id: a.GetId()}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("delete again: %v", err)
	}
	if _, err := me.GetMe(t.Context(), &userv1.GetMeRequest{}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("me after deletion: %v", err)
	}
}

func TestSessions(t *testing.T) {
	f := setUp(t)
	b, one := f.ctl()
	f.pass(time.Second)
	_, two := f.ctl()
	first, err := f.verify(one.Access)
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.verify(two.Access)
	if err != nil {
		t.Fatal(err)
	}
	me := f.as(f.adminID, second.LoginID, administrator)
	list, err := me.ListSessions(t.Context(), &userv1.ListSessionsRequest{})
	if err != nil || len(list.GetSessions()) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	newest := list.GetSessions()[0]
	if newest.GetId() != second.LoginID || !newest.GetCurrent() || newest.GetClientId() != "seguectl" || newest.GetUserAgent() == "" || list.GetSessions()[1].GetCurrent() {
		t.Errorf("sessions %v", list)
	}
	stranger := f.as(f.create("anna").GetId(), "", listener)
	if _, err := stranger.RevokeSession(t.Context(), &userv1.RevokeSessionRequest{Id: first.LoginID}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("another's session: %v", err)
	}
	for range 2 { // a repeat is no error
		if _, err := me.RevokeSession(t.Context(), &userv1.RevokeSessionRequest{Id: first.LoginID}); err != nil {
			t.Error(err)
		}
	}
	if a := b.refresh("seguectl", one.Refresh); a.status != 400 {
		t.Errorf("a revoked session refreshes: %d", a.status)
	}
	if list, err := me.ListSessions(t.Context(), &userv1.ListSessionsRequest{}); err != nil || len(list.GetSessions()) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if n := len(f.named("LoggedOut")); n != 1 {
		t.Errorf("%d events LoggedOut", n)
	}
}

func TestChangePassword(t *testing.T) {
	f := setUp(t)
	b, here := f.ctl()
	_, elsewhere := f.ctl()
	waiting := b.code("seguectl")
	claims, err := f.verify(here.Access)
	if err != nil {
		t.Fatal(err)
	}
	me := f.as(f.adminID, claims.LoginID, administrator)
	if _, err := me.ChangePassword(t.Context(), &userv1.ChangePasswordRequest{Current: "wrong", Replacement: "another password"}); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("wrong current password: %v", err)
	}
	if _, err := me.ChangePassword(t.Context(), &userv1.ChangePasswordRequest{Current: adminPassword, Replacement: "another password"}); err != nil {
		t.Fatal(err)
	}
	if a := b.refresh("seguectl", here.Refresh); a.status != 200 {
		t.Errorf("the session that changed it: %d", a.status)
	}
	if a := b.refresh("seguectl", elsewhere.Refresh); a.status != 400 {
		t.Errorf("another session: %d", a.status)
	}
	if a := b.exchange("seguectl", waiting, nil); a.status != 400 {
		t.Errorf("a code of before: %d", a.status)
	}
	if a := b.submit(b.authorize("web"), "admin", adminPassword); a.status != 403 {
		t.Errorf("the old password: %d", a.status)
	}
	if a := b.submit(b.authorize("web"), "admin", "another password"); a.status != 303 {
		t.Errorf("the new password: %d", a.status)
	}
	if len(f.named("PasswordChanged")) != 1 || len(f.named("LoggedOut")) != 1 {
		t.Errorf("events: %d PasswordChanged, %d LoggedOut, want 1 and 1", len(f.named("PasswordChanged")), len(f.named("LoggedOut")))
	}
	for range 10 {
		_, err = me.ChangePassword(t.Context(), &userv1.ChangePasswordRequest{Current: "guess", Replacement: "another password"})
	}
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("guessing goes on: %v", err)
	}
}

// TestDisable ends a sign-in at once.
func TestDisable(t *testing.T) {
	f := setUp(t)
	a := f.create("anna")
	b := f.browser()
	in := b.submit(b.authorize("seguectl"), "anna", "password of anna")
	got := b.exchange("seguectl", in.location.Query().Get("code"), nil).tokens(f)
	off := true
	if _, err := f.admin().UpdateAccount(t.Context(), &userv1.UpdateAccountRequest{Id: a.GetId(), Disabled: &off, Revision: 1}); err != nil {
		t.Fatal(err)
	}
	if r := b.refresh("seguectl", got.Refresh); r.status != 400 {
		t.Errorf("refresh: %d", r.status)
	}
	if n := len(f.named("LoggedOut")); n != 1 {
		t.Errorf("%d events LoggedOut", n)
	}
}

func TestAudit_Refused(t *testing.T) {
	f := setUp(t)
	a := f.create("anna")
	for range 25 {
		if _, err := f.as(a.GetId(), "", listener).ListAccounts(t.Context(), &userv1.ListAccountsRequest{}); connect.CodeOf(err) != connect.CodePermissionDenied {
			t.Fatal(err)
		}
	}
	other := f.as(f.create("bert").GetId(), "", listener) // other errors are no refusals
	if _, err := other.RevokeSession(t.Context(), &userv1.RevokeSessionRequest{Id: strings.Repeat("1", 22)}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Error(err)
	}
	events := f.named("AccessRefused")
	if len(events) != 10 {
		t.Fatalf("%d events of 25 refusals in a moment, want 10", len(events))
	}
	var p eventv1.AccessRefused
	if err := events[0].GetPayload().UnmarshalTo(&p); err != nil || p.GetProcedure() != userv1connect.AccountServiceListAccountsProcedure || events[0].GetUserId() != a.GetId() {
		t.Errorf("event %v, %v", events[0], err)
	}
}

func TestEnsureAdmin(t *testing.T) {
	f := setUp(t)
	for _, secret := range []string{"", "another password"} { // there is one: nothing happens
		if got, err := f.service.EnsureAdmin(t.Context(), secret); got != "" || err != nil {
			t.Errorf("again: %q, %v", got, err)
		}
	}
	if a := f.browser(); a.submit(a.authorize("web"), "admin", "another password").status != 403 {
		t.Error("a later start changed the password")
	}
	empty := setUpEmpty(t)
	if _, err := empty.service.EnsureAdmin(t.Context(), "short"); err == nil {
		t.Error("a short password was taken")
	}
	got, err := empty.service.EnsureAdmin(t.Context(), "")
	if err != nil || len(got) < 22 {
		t.Fatalf("generated %q, %v", got, err)
	}
	b := empty.browser()
	if a := b.submit(b.authorize("web"), "admin", got); a.status != 303 {
		t.Errorf("sign in with the generated one: %d", a.status)
	}
	if other := setUpEmpty(t); true {
		if second, _ := other.service.EnsureAdmin(t.Context(), ""); second == got {
			t.Error("two servers have one password")
		}
	}
}
