//go:build system

package system

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clusters "github.com/segue-music/segue/test/cluster"
)

// enginesFolder is the folder that scripts/engines.sh fills, empty where there is none.
var enginesFolder = os.Getenv("SEGUE_TEST_ENGINES") //nolint:gochecknoglobals // set before any test

// shared are the engines of all clusters of this package, started by the first that wants
// them: each cluster has a database, keyspaces, topics and a bucket of its own in them.
var shared struct { //nolint:gochecknoglobals // they take half a minute to start
	sync.Once
	*clusters.Engines
	runner *clusters.Child
	dir    string
	err    error
}

func TestMain(m *testing.M) {
	// They are no settings of Segue, which refuses variables that look like one.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "SEGUE_TEST_") {
			_ = os.Unsetenv(name)
		}
	}
	code := m.Run()
	if shared.runner != nil {
		if err := shared.runner.Stop(time.Minute); err != nil {
			fmt.Fprintln(os.Stderr, "stop engines:", err)
			code = 1
		}
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

func startEngines() {
	// Not in a test's folder: it outlives the test, and PostgreSQL, which is not root, has
	// to find its data in it.
	if shared.dir, shared.err = os.MkdirTemp("", "segue-system-"); shared.err != nil {
		return
	}
	if shared.err = os.Chmod(shared.dir, 0o711); shared.err != nil {
		return
	}
	program, err := filepath.Abs("../../bin/engines")
	if err != nil {
		shared.err = err
		return
	}
	shared.Engines, shared.runner, shared.err = clusters.StartEngines(context.Background(), program, enginesFolder, filepath.Join(shared.dir, "engines"))
}

// ownEngines are the shared ones, with a new database, and a Redis that knows nothing.
func ownEngines(d *deployment) *clusters.Engines {
	d.Helper()
	if shared.Do(startEngines); shared.err != nil {
		d.Fatal(shared.err)
	}
	e := *shared.Engines
	at, err := url.Parse(e.Postgres)
	if err != nil {
		d.Fatal(err)
	}
	at.Path = "/" + own("segue", d.T)
	cmd := exec.CommandContext(d.Context(), filepath.Join(enginesFolder, "postgresql/createdb"),
		"-h", at.Hostname(), "-p", at.Port(), "-U", at.User.Username(), at.Path[1:])
	if out, err := cmd.CombinedOutput(); err != nil {
		d.Fatalf("make a database: %v\n%s", err, out)
	}
	e.Postgres = at.String()
	c, err := net.Dial("tcp", e.Redis)
	if err != nil {
		d.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "FLUSHALL\r\n")
	answer := make([]byte, 5)
	if _, err := c.Read(answer); err != nil || string(answer) != "+OK\r\n" {
		d.Fatalf("empty Redis: %q %v", answer, err)
	}
	return &e
}

// own is a name that no other cluster of this package has.
func own(prefix string, t *testing.T) string {
	name := strings.ToLower(strings.SplitN(strings.TrimPrefix(t.Name(), "Test"), "/", 2)[0])
	return prefix + strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			return -1
		}
		return r
	}, name)
}

// write is the name of the span of a write of the store that most of a cluster's stands on.
func (d *deployment) write() string {
	if enginesFolder != "" && len(d.procs) > 1 {
		return "postgres write"
	}
	return "sqlite write"
}
