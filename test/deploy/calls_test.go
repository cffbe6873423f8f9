package deploy_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	_ "github.com/segue-music/segue/gen/segue/charts/v1"
	_ "github.com/segue-music/segue/gen/segue/collect/v1"
	_ "github.com/segue-music/segue/gen/segue/metadata/v1"
	_ "github.com/segue-music/segue/gen/segue/playback/v1"
	_ "github.com/segue-music/segue/gen/segue/upload/v1"
	_ "github.com/segue-music/segue/gen/segue/user/v1"
	_ "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// calls is the table by which the network policies are made.
func calls(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(root + "/deploy/helm/segue/files/calls.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out map[string][]string
	if err := yaml.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCalls: the network lets through who the options of the methods let call, and nobody
// else. What is open to people comes through the gateway.
func TestCalls(t *testing.T) {
	want := map[string][]string{
		"gateway": {},
		// No RPC: the public routes of an edge, and playback asking where it listens.
		"edge": {"gateway", "playback"},
	}
	methods := 0
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		owner, ok := strings.CutPrefix(string(f.Package()), "segue.")
		owner, _, versioned := strings.Cut(owner, ".")
		if !ok || !versioned {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for k := range s.Methods().Len() {
				methods++
				options, ok := s.Methods().Get(k).Options().(*descriptorpb.MethodOptions)
				if !ok {
					t.Fatalf("%s has no options", s.Methods().Get(k).FullName())
				}
				access, ok := proto.GetExtension(options, authv1.E_Access).(*authv1.Access)
				if !ok {
					t.Fatalf("%s has no access option", s.Methods().Get(k).FullName())
				}
				want[owner] = append(want[owner], access.GetCallers()...)
				if access.GetAnonymous() || len(access.GetRoles()) > 0 {
					want[owner] = append(want[owner], "gateway")
				}
			}
		}
		return true
	})
	if methods < 40 {
		t.Fatalf("only %d methods were found", methods)
	}
	for owner, callers := range want {
		slices.Sort(callers)
		want[owner] = slices.Compact(callers)
	}
	if diff := cmp.Diff(want, calls(t)); diff != "" {
		t.Errorf("deploy/helm/segue/files/calls.yaml is not what proto/ says: %s", diff)
	}
}
