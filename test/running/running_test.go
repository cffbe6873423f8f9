package running_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/segue-music/segue/test/running"
)

// TestMain is also the program that Stop ends: it holds the lock until a signal.
func TestMain(m *testing.M) {
	dir := os.Getenv("HOLD_THE_LOCK_OF")
	if dir == "" {
		os.Exit(m.Run())
	}
	f, err := running.Open(dir)
	if err != nil {
		os.Exit(1)
	}
	lock, err := f.Lock()
	if err != nil {
		os.Exit(1)
	}
	<-time.After(time.Minute)
	_ = lock.Close()
}

func TestFolder_Lock(t *testing.T) {
	f, err := running.Open(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := f.Runner(); pid != 0 || err != nil {
		t.Errorf("runner of nothing: %d, %v", pid, err)
	}
	lock, err := f.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lock(); !errors.Is(err, running.ErrRuns) {
		t.Errorf("a second lock: %v", err)
	}
	if pid, err := f.Runner(); pid != os.Getpid() || err != nil {
		t.Errorf("runner: %d, %v", pid, err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if pid, err := f.Runner(); pid != 0 || err != nil {
		t.Errorf("runner that has ended: %d, %v", pid, err)
	}
}

func TestFolder_Stop(t *testing.T) {
	f, err := running.Open(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Stop(t.Context()); err != nil {
		t.Errorf("stop of nothing: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "HOLD_THE_LOCK_OF="+string(*f))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for pid := 0; pid != cmd.Process.Pid; {
		select {
		case <-tick.C:
			pid, _ = f.Runner() // it may be just starting
		case <-ctx.Done():
			t.Fatal("it does not start")
		}
	}
	if err := f.Stop(ctx); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", err)
	}
}

func TestOpen_Others(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "f")
	if _, err := running.Open(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := running.Open(dir); err == nil {
		t.Error("a folder that all may write to is taken")
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if _, err := running.Open(link); err == nil {
		t.Error("a link is taken")
	}
}
