package user_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc/rpctest"
)

func (f *fixture) keysAs(userID string, roles ...authv1.Role) userv1connect.KeyRingServiceClient {
	return userv1connect.NewKeyRingServiceClient(f.rpc.As(identity.Identity{Target: "gateway", UserID: userID, Roles: roles}), rpctest.URL)
}

// TestKeys_Rotate: an admin rotates, it is told in the audit trail, nothing is used before
// it is known, and twice at once is refused whole.
func TestKeys_Rotate(t *testing.T) {
	f := setUp(t)
	admin := f.keysAs(f.adminID, authv1.Role_ROLE_ADMIN)
	ctx := t.Context()
	made, err := admin.RotateKeys(ctx, &userv1.RotateKeysRequest{})
	if err != nil || len(made.GetKeys()) != len(keyring.Purposes()) {
		t.Fatalf("rotate all: %v %v", made, err)
	}
	inUse := func() map[string]uint32 {
		list, err := admin.ListKeys(ctx, &userv1.ListKeysRequest{})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]uint32{}
		for _, k := range list.GetKeys() {
			if k.GetInUse() {
				out[k.GetPurpose()] = k.GetId()
			}
		}
		return out
	}
	for p, k := range inUse() {
		if k != 1 {
			t.Errorf("%s: key %d is used at once", p, k)
		}
	}
	_, err = admin.RotateKeys(ctx, &userv1.RotateKeysRequest{Purposes: []string{"objects", "rpc"}})
	if connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("twice at once: %v", err)
	}
	f.pass(keyring.Ahead)
	for p, k := range inUse() {
		if want := uint32(2); p != "signing" && k != want {
			t.Errorf("%s: key %d is used, want %d", p, k, want)
		} else if p == "signing" && k != 1 {
			t.Error("a key signs that was not published for a day")
		}
	}
	f.pass(24 * time.Hour)
	if k := inUse()["signing"]; k != 2 {
		t.Errorf("a day later key %d signs", k)
	}
	told := map[string]bool{}
	for _, e := range f.named("KeyRotated") {
		var p eventv1.KeyRotated
		if err := e.GetPayload().UnmarshalTo(&p); err != nil || e.GetActorId() != f.adminID || p.GetKeyId() != 2 {
			t.Errorf("told %v %v", e, err)
		}
		told[p.GetPurpose()] = true
	}
	if len(told) != len(keyring.Purposes()) {
		t.Errorf("told of %v", told)
	}
}

func TestKeys_Refused(t *testing.T) {
	f := setUp(t)
	bad := f.keysAs(f.adminID, authv1.Role_ROLE_ADMIN)
	for _, purposes := range [][]string{{"other"}, {""}, {"rpc", "rpc"}} {
		if _, err := bad.RotateKeys(t.Context(), &userv1.RotateKeysRequest{Purposes: purposes}); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%q: %v", purposes, err)
		}
	}
	for _, roles := range [][]authv1.Role{nil, {authv1.Role_ROLE_LISTENER}, {authv1.Role_ROLE_ARTIST, authv1.Role_ROLE_LABEL}} {
		who := f.keysAs(f.adminID, roles...)
		_, err1 := who.RotateKeys(t.Context(), &userv1.RotateKeysRequest{})
		_, err2 := who.ListKeys(t.Context(), &userv1.ListKeysRequest{})
		if connect.CodeOf(err1) != connect.CodePermissionDenied || connect.CodeOf(err2) != connect.CodePermissionDenied {
			t.Errorf("%v: %v, %v", roles, err1, err2)
		}
	}
	var err error
	for i := 0; err == nil && i < 100; i++ {
		f.pass(keyring.Ahead)
		_, err = bad.RotateKeys(t.Context(), &userv1.RotateKeysRequest{Purposes: []string{"refresh"}})
	}
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("without end: %v", err)
	}
	keys, err := f.ring.All(keyring.Refresh)
	if err != nil || len(keys) > 32 || !slices.ContainsFunc(keys, func(k keyring.Key) bool { return k.ID == 1 }) {
		t.Errorf("%d keys, %v", len(keys), errors.Unwrap(err))
	}
}
