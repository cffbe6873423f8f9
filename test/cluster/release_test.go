package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRelease: an older program is told what it knows, of itself and of the others.
func TestRelease(t *testing.T) {
	older := program(t, `case "$*" in
-help) printf 'Usage of segue:\n  -config.file string\n    \tfile\n  -rpc.peers string\n    \t-not.one\n  -target string\n' ;;
"-config.check "*"cluster.yaml -target=charts") exit 2 ;;
esac
`)
	dir := filepath.Dir(older)
	if _, err := OpenRelease(t.Context(), dir); err == nil {
		t.Error("a release without its settings is opened")
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRelease(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Runs("gateway") || r.Runs("charts") {
		t.Errorf("it runs the gateway: %v, charts: %v", r.Runs("gateway"), r.Runs("charts"))
	}
	got, left := r.Fit(Process{Target: "gateway", Env: []string{"A=b"}, Args: []string{
		"-target=gateway", "-config.file=new.yaml", "-event.kafka-prefix=x-", "-rpc.peers=user=https://a:1,charts=https://b:2,edge=https://c:3", "-not.one=",
	}})
	want := Process{Target: "gateway", Env: []string{"A=b"}, Args: []string{
		"-target=gateway", "-config.file=" + filepath.Join(dir, "cluster.yaml"), "-rpc.peers=user=https://a:1,edge=https://c:3",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"event.kafka-prefix", "charts=https://b:2", "not.one"}, left); diff != "" {
		t.Errorf("left out, -want +got:\n%s", diff)
	}
}

// TestRelease_None: what does not tell what it knows is no release.
func TestRelease_None(t *testing.T) {
	dir := filepath.Dir(program(t, "exit 0\n"))
	if err := os.WriteFile(filepath.Join(dir, "cluster.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRelease(t.Context(), dir); err == nil {
		t.Error("it is opened")
	}
}
