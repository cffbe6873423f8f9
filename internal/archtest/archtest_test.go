package archtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"github.com/segue-music/segue/internal/archtest"
)

func TestTree(t *testing.T) {
	found, err := archtest.Check(os.DirFS("../.."), archtest.Segue())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// TestCheck_FindsBroken runs the check on small modules that each break one rule. The
// comment of an archive holds the finding that is wanted, or nothing.
func TestCheck_FindsBroken(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) < 10 {
		t.Fatalf("%d archives, %v", len(archives), err)
	}
	policy := archtest.Policy{
		Layers: []archtest.Layer{
			{Packages: "event/...", May: nil},
			{Packages: "services/a/...", May: []string{"services/a/...", "event"}},
			{Packages: "services/b/...", May: []string{"services/b/..."}},
			{Packages: "internal/app/...", May: []string{"services/...", "event"}},
		},
		Engines: []string{"services/*/sqlite"}, EngineUsers: []string{"internal/app/..."},
		Drivers:       map[string][]string{"database/sql": {"services/*/sqlite"}},
		TargetKnowers: []string{"internal/app/..."}, TopicsFile: "event/topics.go",
		BannedNames: []string{"util"},
	}
	sound, err := txtar.ParseFile("testdata/sound.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			tree := fstest.MapFS{}
			for _, f := range append(sound.Files, a.Files...) {
				tree[f.Name] = &fstest.MapFile{Data: f.Data}
				if len(f.Data) == 0 {
					delete(tree, f.Name)
				}
			}
			got, err := archtest.Check(tree, policy)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSpace(string(a.Comment))
			if strings.Join(got, "\n") != want {
				t.Errorf("found:\n%s\nwant:\n%s", strings.Join(got, "\n"), want)
			}
		})
	}
}
