package locallog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/logtest"
)

func open(tb testing.TB, dir string, opt locallog.Options) *locallog.Log {
	tb.Helper()
	l, err := locallog.Open(dir, opt)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l
}

func TestLog(t *testing.T) {
	for name, size := range map[string]int64{"one_segment": 0, "many_segments": 700} {
		t.Run(name, func(t *testing.T) {
			logtest.Run(t, func(t *testing.T) event.Log {
				return open(t, t.TempDir(), locallog.Options{SegmentBytes: size})
			})
		})
	}
}

func values(t *testing.T, l *locallog.Log, from int64) []string {
	t.Helper()
	var got []string
	for r, err := range l.Read(t.Context(), event.Upload, 0, from, false) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(r.Value))
	}
	return got
}

func add(t *testing.T, l *locallog.Log, vs ...string) {
	t.Helper()
	for _, v := range vs {
		if err := l.Append(t.Context(), event.Record{Topic: event.Upload, Key: []byte("k"), Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLog_Reopen(t *testing.T) {
	segs := func(t *testing.T, dir string) []string {
		names, err := filepath.Glob(filepath.Join(dir, event.Upload, "*.seg"))
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		slices.Sort(names)
		return names
	}
	t.Run("torn_tail", func(t *testing.T) {
		for cut := int64(1); cut < 28; cut += 9 {
			dir := t.TempDir()
			l := open(t, dir, locallog.Options{})
			add(t, l, "a", "b", "c")
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			name := segs(t, dir)[0]
			fi, err := os.Stat(name)
			if err == nil {
				err = os.Truncate(name, fi.Size()-cut)
			}
			if err != nil {
				t.Fatal(err)
			}
			l = open(t, dir, locallog.Options{})
			add(t, l, "d")
			if got := values(t, l, 0); !slices.Equal(got, []string{"a", "b", "d"}) {
				t.Errorf("cut %d: %q", cut, got)
			}
		}
	})
	t.Run("offsets_and_records", func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, dir, locallog.Options{SegmentBytes: 100})
		add(t, l, "a", "b", "c", "d", "e", "f", "g")
		if err := l.Commit(t.Context(), "g", event.Upload, 0, 4); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir, locallog.Options{SegmentBytes: 100})
		from, err := l.Committed(t.Context(), "g", event.Upload, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := values(t, l, from); !slices.Equal(got, []string{"e", "f", "g"}) {
			t.Errorf("from %d: %q", from, got)
		}
	})
	t.Run("flipped_bit_in_a_closed_segment", func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, dir, locallog.Options{SegmentBytes: 60})
		add(t, l, "a", "b", "c", "d", "e", "f")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		name := segs(t, dir)[0]
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir, locallog.Options{SegmentBytes: 60})
		var last error
		for _, err := range l.Read(t.Context(), event.Upload, 0, 0, false) {
			last = err
		}
		if !errors.Is(last, event.ErrCorrupt) {
			t.Errorf("read of a corrupt segment ends with %v", last)
		}
	})
}

func TestLog_Time(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1000, 0)
	clock := func() time.Time { return now }
	l := open(t, dir, locallog.Options{Now: clock})
	add(t, l, "a")
	now = now.Add(-time.Hour)
	add(t, l, "b")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, locallog.Options{Now: clock})
	add(t, l, "c")
	for r, err := range l.Read(t.Context(), event.Upload, 0, 0, false) {
		if err != nil || !r.Time.Equal(time.Unix(1000, 0)) {
			t.Errorf("time of %s is %v, %v", r.Value, r.Time, err)
		}
	}
}

func TestLog_Trim(t *testing.T) {
	now := time.Unix(1000, 0)
	l := open(t, t.TempDir(), locallog.Options{
		Now: func() time.Time { return now }, SegmentBytes: 1 << 20,
		Retention: func(string) time.Duration { return time.Hour },
	})
	for i := range 10 {
		add(t, l, fmt.Sprint(i))
		now = now.Add(20 * time.Minute)
	}
	if err := l.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, next, err := l.Bounds(t.Context(), event.Upload, 0)
	if err != nil || first != 6 || next != 10 {
		t.Errorf("bounds %d to %d, %v, want 6 to 10", first, next, err)
	}
	if got := values(t, l, 0); !slices.Equal(got, []string{"6", "7", "8", "9"}) {
		t.Errorf("left %q", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ producers, batch int }{{1, 1}, {1024, 1}, {8, 100}} {
		b.Run(fmt.Sprintf("%dx%d", c.producers, c.batch), func(b *testing.B) {
			l := open(b, b.TempDir(), locallog.Options{})
			recs := make([]event.Record, c.batch)
			for i := range recs {
				recs[i] = event.Record{Topic: event.Playback, Key: []byte("0123456789abcdefghijkl"), Value: bytes.Repeat([]byte{'v'}, 178)}
			}
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			used := cpuTime(b)
			for p := range c.producers {
				wg.Go(func() {
					for i := p * c.batch; i < b.N; i += c.producers * c.batch {
						if err := l.Append(context.Background(), recs...); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64((cpuTime(b)-used).Nanoseconds())/float64(b.N), "cpu-ns/event")
		})
	}
}

// cpuTime is what this process has used, user and system.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
