package watch_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/services/upload/watch"
)

func open(t *testing.T, dir string, now func() time.Time) *watch.Folder {
	t.Helper()
	f, err := watch.Open(dir, watch.Options{Settle: time.Minute, Rescan: time.Hour, Now: now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func scan(t *testing.T, f *watch.Folder) (paths []string, unsettled bool) {
	t.Helper()
	unsettled, err := f.Scan(".", func(string) {}, func(file watch.File) error {
		paths = append(paths, file.Path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, unsettled
}

func later(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }

// hostile makes a folder in which only a.mp3, b/c.mp3 and a name of odd bytes are files
// to take.
func hostile(t *testing.T) (dir, secret string) {
	t.Helper()
	dir = t.TempDir()
	secret = filepath.Join(t.TempDir(), "secret.mp3")
	write(t, secret, "secret")
	write(t, filepath.Join(dir, "a.mp3"), "a")
	write(t, filepath.Join(dir, "b", "c.mp3"), "c")
	write(t, filepath.Join(dir, "b", "\xff\xfe.mp3"), "odd")
	write(t, filepath.Join(dir, ".hidden.mp3"), "h")
	write(t, filepath.Join(dir, ".git", "x.mp3"), "h")
	write(t, filepath.Join(dir, "empty.mp3"), "")
	for link, target := range map[string]string{
		"out.mp3": secret, "in.mp3": "a.mp3", "outdir": filepath.Dir(secret), "indir": "b", "loop": ".", "dead.mp3": "nothing",
		"up.mp3": "../../../../../../etc/passwd",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo.mp3"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, secret
}

func TestScan_RegularFilesOnly(t *testing.T) {
	dir, _ := hostile(t)
	f := open(t, dir, later(time.Hour))
	got, unsettled := scan(t, f)
	if diff := cmp.Diff([]string{"a.mp3", "b/c.mp3", "b/\xff\xfe.mp3"}, got); diff != "" || unsettled {
		t.Error(diff, unsettled)
	}
}

func TestOpen_RegularFilesOnly(t *testing.T) {
	dir, secret := hostile(t)
	f := open(t, dir, time.Now)
	file, info, err := f.Open("a.mp3")
	if err != nil || info.Size != 1 {
		t.Fatal(info, err)
	}
	_ = file.Close()
	for _, name := range []string{"out.mp3", "in.mp3", "dead.mp3", "up.mp3", "fifo.mp3", "b", ".", "outdir/secret.mp3", "../x", secret, "none"} {
		if file, _, err := f.Open(name); err == nil {
			b, _ := io.ReadAll(file)
			t.Errorf("%s was opened: %q", name, b)
		}
	}
	if _, _, err := f.Open("in.mp3"); !errors.Is(err, watch.ErrNotRegular) {
		t.Errorf("a link: %v", err)
	}
	if _, _, err := f.Open("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

// TestScan_Settles: a file counts when it has been left alone, whatever its time says.
func TestScan_Settles(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	f := open(t, dir, func() time.Time { return now })
	name := filepath.Join(dir, "a.mp3")
	write(t, name, "a")
	old := now.Add(-24 * time.Hour) // a copying program keeps the time of the original
	if err := os.Chtimes(name, old, old); err != nil {
		t.Fatal(err)
	}
	if got, unsettled := scan(t, f); len(got) > 0 || !unsettled {
		t.Fatalf("still being copied: %v", got)
	}
	now = now.Add(2 * time.Minute)
	if got, unsettled := scan(t, f); len(got) != 1 || unsettled {
		t.Fatalf("settled: %v", got)
	}
}

// TestScan_ClockAhead: where the clock of the files runs ahead, looking the same twice is
// what settles a file.
func TestScan_ClockAhead(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().Add(-time.Hour)
	f := open(t, dir, func() time.Time { return now })
	name := filepath.Join(dir, "a.mp3")
	write(t, name, "a")
	scan(t, f)
	now = now.Add(40 * time.Second)
	write(t, name, "ab")
	if got, _ := scan(t, f); len(got) > 0 {
		t.Fatalf("it has just changed: %v", got)
	}
	now = now.Add(40 * time.Second)
	if got, _ := scan(t, f); len(got) > 0 {
		t.Fatalf("it changed 40 s ago: %v", got)
	}
	now = now.Add(40 * time.Second)
	if got, _ := scan(t, f); len(got) != 1 {
		t.Fatalf("settled: %v", got)
	}
}

// TestRun_FindsWithAndWithoutEvents: new files and folders come in by events; Run looks
// again for what has not settled.
func TestRun_FindsWithAndWithoutEvents(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "first.mp3"), "1")
	f, err := watch.Open(dir, watch.Options{Settle: 10 * time.Millisecond, Rescan: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		done <- f.Run(ctx, func(_ context.Context, d string, entered func(string)) (bool, error) {
			return f.Scan(d, entered, func(file watch.File) error { seen <- file.Path; return nil })
		})
	}()
	wait := func(want string) {
		t.Helper()
		var got []string
		for !slices.Contains(got, want) {
			select {
			case p := <-seen:
				got = append(got, p)
			case <-ctx.Done():
				t.Fatalf("%s was not found, only %v", want, got)
			}
		}
	}
	wait("first.mp3")
	write(t, filepath.Join(dir, "second.mp3"), "2")
	wait("second.mp3")
	write(t, filepath.Join(dir, "deep", "er", "third.mp3"), "3")
	wait("deep/er/third.mp3")
	write(t, filepath.Join(dir, "deep", "er", "fourth.mp3"), "4")
	wait("deep/er/fourth.mp3")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}
