// Package testengine starts a foreign server for a test: on free ports, in a temporary
// folder, until the test ends. The servers are those that scripts/engines.sh fetches.
//
// A server that cannot be found fails the test where it was asked for and skips it where
// nobody did. SEGUE_TEST_REQUIRE lists those that are asked for; without it all are, as
// soon as SEGUE_TEST_ENGINES names their folder, and always in CI.
package testengine

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// patience ends the wait for an engine that never becomes ready. A JVM on a machine busy
// with compilers was seen to need 24 s.
const patience = 2 * time.Minute

// Host is for whom an engine runs: a test, or the program test/engines.
type Host interface {
	Helper()
	// Context ends with the host.
	Context() context.Context
	// TempDir is a new folder that is the engine's own.
	TempDir() string
	// Cleanup has f called at the end.
	Cleanup(f func())
	Failed() bool
	Log(args ...any)
	Logf(format string, args ...any)
	// Skip, Fatal and Fatalf do not return.
	Skip(args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

var _ Host = testing.TB(nil)

// locate is find for a host, which it ends when there is no such engine.
func locate(tb Host, engine string) string {
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
func start(tb Host, ports int, begin func(ports []string) (*process, error)) *process {
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

// port is that of an address.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
