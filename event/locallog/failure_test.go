package locallog_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
)

// failing is a real disk on which appends fail while an error is set.
type failing struct {
	locallog.FS
	mu          sync.Mutex
	write, sync error
}

func (f *failing) set(write, sync error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.write, f.sync = write, sync
}

func (f *failing) Create(name string) (locallog.File, error) {
	file, err := f.FS.Create(name)
	return failingFile{file, f}, err
}

type failingFile struct {
	locallog.File
	disk *failing
}

func (f failingFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.write != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off)
		return n, f.disk.write
	}
	return f.File.WriteAt(p, off)
}

func (f failingFile) Sync(site locallog.Site) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.sync != nil {
		return f.disk.sync
	}
	return f.File.Sync(site)
}

func openFailing(t *testing.T, onFail func(error)) (*locallog.Log, *failing) {
	t.Helper()
	fs, err := locallog.DirFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	disk := &failing{FS: fs}
	l, err := locallog.OpenFS(disk, locallog.Options{OnFail: onFail})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, disk
}

func TestLog_DiskFull(t *testing.T) {
	l, disk := openFailing(t, func(err error) { t.Errorf("the log stops for good: %v", err) })
	add(t, l, "a")
	disk.set(syscall.ENOSPC, nil)
	rec := event.Record{Topic: event.Upload, Value: []byte("b")}
	if err := l.Append(t.Context(), rec); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("append to a full disk: %v", err)
	}
	disk.set(nil, nil)
	add(t, l, "c")
	if got := values(t, l, 0); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("read %q", got)
	}
}

func TestLog_FailedSync(t *testing.T) {
	var told []error
	l, disk := openFailing(t, func(err error) { told = append(told, err) })
	add(t, l, "a")
	disk.set(nil, syscall.EIO)
	rec := event.Record{Topic: event.Upload, Value: []byte("b")}
	if err := l.Append(t.Context(), rec); !errors.Is(err, event.ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("append with a failed sync: %v", err)
	}
	disk.set(nil, nil) // the next sync would lie
	if err := l.Append(t.Context(), rec); !errors.Is(err, event.ErrFailed) {
		t.Errorf("append after a failed sync: %v", err)
	}
	if err := l.Commit(t.Context(), "g", event.Upload, 0, 1); !errors.Is(err, event.ErrFailed) {
		t.Errorf("commit after a failed sync: %v", err)
	}
	if len(told) != 1 || !errors.Is(told[0], syscall.EIO) {
		t.Errorf("told %v", told)
	}
	if got := values(t, l, 0); !slices.Equal(got, []string{"a"}) {
		t.Errorf("read %q", got)
	}
}

// TestKill kills a process of its own under appends and looks for what it acknowledged.
func TestKill(t *testing.T) {
	if dir := os.Getenv("SEGUE_TEST_KILL_DIR"); dir != "" {
		appendForever(t, dir)
		return
	}
	dir := t.TempDir() // one log through all rounds
	acked := map[string]bool{}
	for round := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "SEGUE_TEST_KILL_DIR="+dir, fmt.Sprintf("SEGUE_TEST_KILL_ROUND=%d", round))
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines, n := bufio.NewScanner(out), 0
		for lines.Scan() {
			v, ok := strings.CutPrefix(lines.Text(), "acked ")
			if !ok {
				continue
			}
			acked[v] = true
			if n++; n == 500+300*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed
		if n < 500 {
			t.Fatalf("only %d appends acknowledged", n)
		}
		l, err := locallog.Open(dir, locallog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, v := range values(t, l, 0) {
			count[v]++
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for v := range acked {
			if count[v] != 1 {
				t.Fatalf("acknowledged %s is there %d times", v, count[v])
			}
		}
	}
}

func appendForever(t *testing.T, dir string) {
	l := open(t, dir, locallog.Options{SegmentBytes: 32 << 10})
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := 0; ; i++ {
				v := fmt.Sprintf("%s-%d-%d", os.Getenv("SEGUE_TEST_KILL_ROUND"), w, i)
				if err := l.Append(t.Context(), event.Record{Topic: event.Upload, Value: []byte(v)}); err != nil {
					t.Error(err)
					return
				}
				fmt.Printf("acked %s\n", v)
			}
		})
	}
	wg.Wait()
}
