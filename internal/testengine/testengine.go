// Package testengine starts a foreign server for a test: on free ports, in a temporary
// folder, until the test ends. The servers are those that scripts/engines.sh fetches.
//
// A server that cannot be found skips the test only where nobody asked for it: not when
// SEGUE_TEST_ENGINES, their folder, is set, and never where CI is.
package testengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Folder is the environment variable that names the folder of the engines.
const Folder = "SEGUE_TEST_ENGINES"

// patience ends the wait for an engine that never becomes ready. A JVM on a machine busy
// with compilers was seen to need 24 s.
const patience = 2 * time.Minute

// errNotAsked says that nobody asked for engines, so that a test may skip.
var errNotAsked = errors.New(Folder + " is not set; make test-engines sets it")

// find is the path of an engine.
func find(getenv func(string) string, engine string) (string, error) {
	dir := getenv(Folder)
	if dir == "" {
		if getenv("CI") != "" {
			return "", fmt.Errorf("%s is not set, and in CI no engine is left out", Folder)
		}
		return "", errNotAsked
	}
	path, err := filepath.Abs(filepath.Join(dir, engine))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("scripts/engines.sh did not fetch %s: %w", engine, err)
	}
	return path, nil
}

// locate is find for a test, which it ends when there is no such engine.
func locate(tb testing.TB, engine string) string {
	tb.Helper()
	path, err := find(os.Getenv, engine)
	switch {
	case errors.Is(err, errNotAsked):
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
	return path
}

// tries bounds the starts of an engine whose ports others take before it does.
const tries = 3

// start starts an engine with begin, which is given as many free ports as it asks for
// and returns when the engine is ready.
func start(tb testing.TB, ports int, begin func(ports []string) (*process, error)) *process {
	tb.Helper()
	began := time.Now()
	for try := 1; ; try++ {
		free, err := freePorts(tb.Context(), ports)
		if err != nil {
			tb.Fatalf("find free ports: %v", err)
		}
		p, err := begin(free)
		if err != nil && p != nil {
			p.kill()
		}
		if err != nil && try < tries && p != nil && p.log.has("address already in use") {
			continue
		}
		if err != nil {
			tb.Fatalf("start engine: %v\n%s", err, p)
		}
		tb.Logf("%s is ready after %v", p.name, time.Since(began).Round(time.Millisecond))
		return p
	}
}

// freePorts are ports of 127.0.0.1 that nobody listened on a moment ago.
func freePorts(ctx context.Context, n int) (ports []string, err error) {
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // at the end, so that the ports differ
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// environment is what an engine is told of this process's own: nothing that would set it
// up otherwise than the test means.
func environment(more ...string) []string {
	env := more
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "JAVA_HOME"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// lines joins a file's lines.
func lines(l ...string) []byte { return []byte(strings.Join(l, "\n") + "\n") }
