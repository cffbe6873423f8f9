package user_test

import (
	"testing"

	"connectrpc.com/connect"

	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc/rpctest"
)

func TestDirectory_FindAccount(t *testing.T) {
	f := setUp(t)
	by := func(target string) userv1connect.DirectoryServiceClient {
		return userv1connect.NewDirectoryServiceClient(f.rpc.As(identity.Identity{Target: target}), rpctest.URL)
	}
	got, err := by("upload").FindAccount(t.Context(), &userv1.FindAccountRequest{Username: "admin"})
	if err != nil || got.GetId() != f.adminID {
		t.Errorf("%v, %v; want %s", got, err, f.adminID)
	}
	_, err = by("upload").FindAccount(t.Context(), &userv1.FindAccountRequest{Username: "nobody"})
	if connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an unknown name: %v", err)
	}
	_, err = by("gateway").FindAccount(t.Context(), &userv1.FindAccountRequest{Username: "admin"})
	if connect.CodeOf(err) == 0 || err == nil {
		t.Error("names can be looked up from outside")
	}
}

func TestAccessAudit_RecordRefusal(t *testing.T) {
	f := setUp(t)
	a := f.create("anna")
	for _, who := range []identity.Identity{{Target: "gateway", UserID: a.GetId(), IP: "192.0.2.1"}, {Target: "gateway", IP: "192.0.2.1"}} {
		c := userv1connect.NewAccessAuditServiceClient(f.rpc.As(who), rpctest.URL)
		for range 25 {
			if _, err := c.RecordRefusal(t.Context(), &userv1.RecordRefusalRequest{Procedure: "/o/", Reason: "no token"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	of := map[string]int{}
	for _, e := range f.named("AccessRefused") {
		of[e.GetUserId()]++
	}
	if of[a.GetId()] != 10 || of[""] != 10 {
		t.Errorf("events by user: %v, want 10 each", of)
	}
}
