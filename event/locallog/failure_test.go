package locallog_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

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

// TestLog_FailedSyncAnywhere fails one sync of every kind: the log says so, tells once and
// refuses everything from then on; opened anew it has what it acknowledged.
func TestLog_FailedSyncAnywhere(t *testing.T) {
	for _, site := range locallog.Sites() {
		t.Run(string(site), func(t *testing.T) {
			disk := newDisk("", 512)
			disk.left = 1 << 30
			now, told := time.Unix(1e9, 0), 0
			opt := locallog.Options{
				Now: func() time.Time { return now }, SegmentBytes: 100, OnFail: func(error) { told++ },
				Retention: func(string) time.Duration { return time.Hour },
			}
			acked, log := 0, (*locallog.Log)(nil)
			work := func(ctx context.Context) error {
				for range 5 {
					if err := log.Append(ctx, event.Record{Topic: event.Upload, Value: []byte{byte(acked)}}); err != nil {
						return err
					}
					acked++
				}
				disk.full = true
				err := log.Append(ctx, event.Record{Topic: event.Upload, Value: []byte("no room")})
				disk.full = false
				if !errors.Is(err, syscall.ENOSPC) {
					return err
				}
				if err := log.Commit(ctx, "g", event.Upload, 0, 1); err != nil {
					return err
				}
				now = now.Add(40 * time.Minute)
				return log.Trim(ctx)
			}
			var err error
			open := func() {
				if log, err = locallog.OpenFS(disk, opt); err == nil {
					t.Cleanup(func() { _ = log.Close() })
				}
			}
			if open(); err != nil {
				t.Fatal(err)
			}
			if err := work(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			disk.broken = site
			if open(); err == nil {
				for range 5 { // a segment is older than the retention by then
					if err = work(t.Context()); err != nil {
						break
					}
				}
				if !errors.Is(err, event.ErrFailed) || !errors.Is(err, syscall.EIO) || told != 1 {
					t.Fatalf("a failed sync gives %v, told %d times", err, told)
				}
				for _, err := range []error{
					log.Append(t.Context(), event.Record{Topic: event.Catalogue}),
					log.Commit(t.Context(), "g", event.Upload, 0, 1), log.Trim(t.Context()),
				} {
					if !errors.Is(err, event.ErrFailed) {
						t.Errorf("use of a failed log: %v", err)
					}
				}
			} else if !errors.Is(err, syscall.EIO) {
				t.Fatalf("open with a failed sync: %v", err)
			}
			if disk.broken != "" {
				t.Fatal("no such sync")
			}
			disk.cutPower(rand.New(rand.NewPCG(1, 1)))
			if open(); err != nil {
				t.Fatal(err)
			}
			first, _, err := log.Bounds(t.Context(), event.Upload, 0)
			if err != nil {
				t.Fatal(err)
			}
			got := values(t, log, 0)
			for i := int(first); i < acked; i++ {
				if n := i - int(first); n >= len(got) || got[n] != string([]byte{byte(i)}) {
					t.Fatalf("record %d of %d acknowledged is not there", i, acked)
				}
			}
		})
	}
}

// TestLog_NoRoomForSegment fills the disk when a segment is full: the log goes on later.
func TestLog_NoRoomForSegment(t *testing.T) {
	disk := newDisk("", 512)
	disk.left = 1 << 30
	l, err := locallog.OpenFS(disk, locallog.Options{SegmentBytes: 1, OnFail: func(err error) { t.Errorf("the log stops for good: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	add(t, l, "a")
	disk.full = true
	for range 3 {
		if err := l.Append(t.Context(), event.Record{Topic: event.Upload}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("append without room for a segment: %v", err)
		}
		if err := l.Commit(t.Context(), "g", event.Upload, 0, 1); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("commit without room: %v", err)
		}
	}
	disk.full = false
	add(t, l, "b")
	if err := l.Commit(t.Context(), "g", event.Upload, 0, 1); err != nil {
		t.Error(err)
	}
	if got := values(t, l, 0); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("read %q", got)
	}
}

// stubborn refuses to remove a file while it is set.
type stubborn struct {
	locallog.FS
	refuse bool
}

func (s *stubborn) Remove(name string) error {
	if s.refuse {
		return syscall.EIO
	}
	return s.FS.Remove(name)
}

// TestLog_TrimFails leaves no hole between segments when one cannot be removed.
func TestLog_TrimFails(t *testing.T) {
	disk := newDisk("", 512)
	disk.left = 1 << 30
	fs := &stubborn{FS: disk}
	now := time.Unix(1e9, 0)
	opt := locallog.Options{
		Now: func() time.Time { return now }, SegmentBytes: 1, Retention: func(string) time.Duration { return time.Hour },
	}
	l, err := locallog.OpenFS(fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	add(t, l, "a", "b", "c")
	now = now.Add(2 * time.Hour)
	add(t, l, "d")
	fs.refuse = true
	if err := l.Trim(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("trim: %v", err)
	}
	fs.refuse = false
	if err := l.Trim(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = locallog.OpenFS(fs, opt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if got := values(t, l, 0); len(got) == 0 || got[len(got)-1] != "d" || len(got) > 2 {
		t.Errorf("left %q", got)
	}
}
