//go:build system

package system

import (
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMove takes the catalogue of a server in one process to Cassandra, as an operator does:
// it is the same there, and goes on.
func TestMove(t *testing.T) {
	if enginesFolder == "" {
		t.Skip("to move to Cassandra needs it: make test-system has it")
	}
	d := single(t, "-upload.watch={dir}/watched", "-upload.workers=1", "-upload.settle=100ms")
	d.login()
	d.watchedFile()
	before := d.tracks()
	p := d.procs[0]
	ring := []string{"-cassandra.hosts=" + ownEngines(d).Cassandra, "-cassandra.replication=datacenter1:1", "-cassandra.keyspace=" + own("seg", t), "-cassandra.timeout=20s"}
	// run gives what segue said where it did not end well.
	run := func(args ...string) string {
		out, err := exec.CommandContext(d.Context(), program(t, "segue"), append(args, ring...)...).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if err == nil {
			return ""
		}
		return string(out)
	}
	load := func() string { return run("-target=load", "-load.catalogue="+d.file("data/metadata.db")) }
	if said := run("-target=migrate"); said != "" {
		t.Fatalf("migrate: %s", said)
	}
	if said := load(); !strings.Contains(said, "in use") {
		t.Errorf("a load from a server that runs says %q", said)
	}
	if said := run("-target=load", "-load.catalogue="+d.file("data/none.db")); !strings.Contains(said, "no such file") {
		t.Errorf("a load from nothing says %q", said)
	}
	waits := regexp.MustCompile(`(?m)^segue_outbox_pending_events\{owner="metadata"\} [^0]`)
	d.until(30*time.Second, "events of the catalogue published", func() error {
		if waits.MatchString(d.page(p)) {
			return errors.New("events wait")
		}
		return nil
	})
	d.stop(p)
	for _, what := range []string{"load", "load again"} {
		if said := load(); said != "" {
			t.Fatalf("%s: %s", what, said)
		}
	}
	p.args = append(p.args, ring...)
	d.again(p)
	d.await(p)
	if diff := cmp.Diff(before, d.tracks()); diff != "" {
		t.Errorf("tracks after the move (-before +after):\n%s", diff)
	}
	// It is used, and goes on.
	d.noise("watched/later.flac", 3, 52, tags("Put there later", "Watched")...)
	d.until(60*time.Second, "a file after the move", func() error {
		list := d.tracks()
		for _, one := range list {
			if one.Title == "Put there later" && one.State == "complete" && one.Album == before[0].Album && len(list) == len(before)+1 {
				return nil
			}
		}
		return errorf("%d tracks: %v", len(list), list)
	})
}
