//go:build engines

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/testengine"
)

// TestMain is also what start leaves behind.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		if err := command(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func addresses(t *testing.T, dir string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "engines.json"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func answers(t *testing.T, addr string) bool {
	t.Helper()
	c, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), "tcp", addr)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

func TestCommand(t *testing.T) {
	if os.Getenv(testengine.Folder) == "" {
		testengine.Redis(t) // skips or fails, as it is asked for
	}
	dir := filepath.Join(t.TempDir(), "running")
	do := func(verb string, more ...string) string {
		t.Helper()
		var out strings.Builder
		if err := command(append([]string{verb, "-dir=" + dir, "-only=redis,s3"}, more...), &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	t.Cleanup(func() { do("stop") })
	do("stop") // of nothing
	first := do("start")
	told := addresses(t, dir)
	if !strings.Contains(first, "export ENGINE_REDIS_ADDR='"+told["redis_addr"]+"'") || !answers(t, told["redis_addr"]) || told["s3_bucket"] == "" {
		t.Fatalf("%s\n%v", first, told)
	}
	if again := do("start"); again != first {
		t.Errorf("started again: %s", again)
	}
	other := testengine.Redis(t)
	do("stop")
	if answers(t, told["redis_addr"]) || !answers(t, other.Addr) {
		t.Error("stop ends others, or not its own")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 {
		t.Errorf("what is left: %q", left)
	}

	do("start")
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := f.Runner()
	if err != nil || pid == 0 {
		t.Fatal(pid, err)
	}
	before := addresses(t, dir)["redis_addr"]
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Redis dies with the thread that started it, before the last one lets the folder go.
	for end := time.Now().Add(20 * time.Second); ; {
		pid, err := f.Runner()
		if err != nil {
			t.Fatal(err)
		}
		if pid == 0 && !answers(t, before) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d runs, or an engine outlives who ran it", pid)
		}
	}
	do("start")
	if now := addresses(t, dir)["redis_addr"]; now == before || !answers(t, now) {
		t.Errorf("after a crash: %s, %s before", now, before)
	}
}

// TestCommand_Missing: what cannot be started is told, and nothing is left running.
func TestCommand_Missing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "running")
	var out strings.Builder
	err := command([]string{"start", "-dir=" + dir, "-programs=" + t.TempDir(), "-only=redis"}, &out)
	if err == nil || !strings.Contains(err.Error(), "did not fetch redis-server") {
		t.Errorf("%v", err)
	}
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := f.Runner(); pid != 0 || err != nil {
		t.Error(pid, err)
	}
}
