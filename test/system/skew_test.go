//go:build system && skew

package system

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	clusters "github.com/segue-music/segue/test/cluster"
)

// releasedFolder is what scripts/released.sh makes.
var releasedFolder = os.Getenv("SEGUE_TEST_RELEASED") //nolint:gochecknoglobals // set before any test

// skewed runs the scenarios that cross the border between the gateway and those behind it:
// each call of an app, streams of messages, uploads, sign-ins, what is heard. Others need
// what only one release has, or look into one process.
func skewed(d *deployment) {
	d.login()
	for _, s := range scenarios() {
		switch s.name {
		case "replay", "one_owner_of_data", "crash", "every_rpc":
			continue
		}
		d.scenario(s.name, s.run)
	}
}

// TestSkew_Gateway has the gateway of the last release before services of this one: the
// databases were brought forward, and who stands behind the gateway was started first.
func TestSkew_Gateway(t *testing.T) {
	skewed(skew(t, func(target string) bool { return target == "gateway" }))
}

// TestSkew_Services has the gateway of this release before services of the last one, whose
// databases are still theirs.
func TestSkew_Services(t *testing.T) {
	skewed(skew(t, func(target string) bool { return target != "gateway" }))
}

// skew starts a cluster of one process each, of which some are of the last release.
func skew(t *testing.T, older func(target string) bool) *deployment {
	if enginesFolder == "" || releasedFolder == "" {
		t.Fatal("programs of two releases stand on the real engines: make test-skew has both")
	}
	release, err := clusters.OpenRelease(t.Context(), releasedFolder)
	if err != nil {
		t.Fatal(err)
	}
	d := prepare(t)
	d.without = map[string]bool{}
	plan := d.plan(func(o *clusters.Options) {
		o.Single = true
		o.More = append(o.More, d.settings([]string{"-upload.watch={dir}/watched", "-upload.workers=1", "-upload.settle=100ms"})...)
	})
	var left []string
	if older("user") {
		plan.Migrate, left = release.Fit(plan.Migrate)
		d.migrate(release.Program, plan.Migrate)
	} else {
		d.migrate(program(t, "segue"), plan.Migrate)
	}
	for _, p := range plan.Processes {
		if !release.Runs(p.Target) {
			// One side does not know it: nobody may lean on it.
			d.without[p.Target] = true
		}
		if !older(p.Target) {
			d.start(p.Env, p.Args...)
			continue
		}
		if d.without[p.Target] {
			continue
		}
		p, without := release.Fit(p)
		left = append(left, without...)
		d.startOther(release.Program, p.Env, p.Args...)
	}
	d.awaitAll()
	slices.Sort(left)
	t.Logf("%s; the last release does not know %v, and leaves out %q", runOther(t, release.Program, "-version"), d.without, slices.Compact(left))
	return d
}

// runOther is what a program prints.
func runOther(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
