package locallog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
)

// segmentBytes are those of a segment with records of 100 bytes, the first at offset 0.
func segmentBytes(tb testing.TB, n int) []byte {
	tb.Helper()
	disk := newDisk("", 512)
	disk.left = 1 << 30
	l, err := locallog.OpenFS(disk, locallog.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		v := fmt.Appendf(nil, "%0100d", i)
		if err := l.Append(context.Background(), event.Record{Topic: event.Upload, Key: []byte("k"), Value: v}); err != nil {
			tb.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	return disk.dirs[event.Upload].now[segmentName(0)].data
}

func segmentName(base int64) string { return fmt.Sprintf("%020d.seg", base) }

// FuzzSegments opens a log of two files with any bytes. Whatever is in them, what is read
// is in order, an error is [event.ErrCorrupt], and a log that opens can be written to.
func FuzzSegments(f *testing.F) {
	whole := segmentBytes(f, 6)
	one := len(whole) / 6
	flipped := bytes.Clone(whole)
	flipped[one+30] ^= 1
	long := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(long[one:], 1<<31)
	f.Add(whole[:3*one], whole[3*one:], int64(3), "")        // sound
	f.Add(whole[:3*one], whole[3*one:6*one-1], int64(3), "") // torn tail
	f.Add(whole[:3*one], whole[4*one:], int64(3), "")        // offset 3 is missing
	f.Add(whole[:2*one], whole[4*one:], int64(4), "")        // hole between segments
	f.Add(whole, whole, int64(3), "")                        // segments overlap
	f.Add(flipped[:3*one], flipped[3*one:], int64(3), "")
	f.Add(long[:3*one], long[3*one:], int64(3), "")
	f.Add(whole[:3*one], []byte{}, int64(3), "")
	f.Add([]byte{}, whole[3*one:], int64(3), "")
	f.Add(bytes.Repeat([]byte{0}, 100), bytes.Repeat([]byte{255}, 100), int64(1)<<62, "5.seg")
	f.Add(whole, []byte{}, int64(6), segmentName(-1)+"x")
	f.Fuzz(func(t *testing.T, first, last []byte, base int64, other string) {
		disk := newDisk("", 512)
		disk.left = 1 << 30
		l, err := locallog.OpenFS(disk, locallog.Options{})
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		put := func(name string, b []byte) {
			disk.dirs[event.Upload].now[name] = &inode{data: bytes.Clone(b), synced: bytes.Clone(b)}
		}
		put(segmentName(0), first)
		if base > 0 {
			put(segmentName(base), last)
		}
		if other != "" {
			put(other, first)
		}
		l, err = locallog.OpenFS(disk, locallog.Options{})
		if err != nil {
			if !errors.Is(err, event.ErrCorrupt) {
				t.Fatalf("open: %v", err)
			}
			return
		}
		defer l.Close()
		add(t, l, "new")
		next := int64(0)
		var value []byte
		for r, err := range l.Read(t.Context(), event.Upload, 0, 0, false) {
			if errors.Is(err, event.ErrCorrupt) {
				return
			}
			if err != nil || r.Offset != next {
				t.Fatalf("read at offset %d: %d, %v", next, r.Offset, err)
			}
			next, value = r.Offset+1, r.Value
		}
		if string(value) != "new" {
			t.Errorf("the record appended last reads %q", value)
		}
	})
}

// TestLog_CorruptTail does not take what a crash cannot do for a torn tail.
func TestLog_CorruptTail(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, locallog.Options{})
	recs := make([]event.Record, 16)
	for i := range recs {
		recs[i] = event.Record{Topic: event.Upload, Value: bytes.Repeat([]byte{1}, event.MaxValue)}
	}
	for range 12 {
		if err := l.Append(t.Context(), recs...); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, event.Upload, segmentName(0))
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(before)
	damaged[1<<20] ^= 1
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := locallog.Open(dir, locallog.Options{}); !errors.Is(err, event.ErrCorrupt) {
		t.Errorf("open with %d bytes behind a flipped bit: %v", len(before)-1<<20, err)
	}
	if after, err := os.ReadFile(name); err != nil || !slices.Equal(after, damaged) {
		t.Errorf("the damaged segment was changed: %v", err)
	}
}

// TestLog_CorruptOffsets says so for a group whose file is damaged, and for no other.
func TestLog_CorruptOffsets(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":       func([]byte) []byte { return nil },
		"flipped_bit": func(b []byte) []byte { b[len(b)-2] ^= 1; return b },
		"cut":         func(b []byte) []byte { return b[:len(b)-1] },
		"longer":      func(b []byte) []byte { return append(b, "more 1\n"...) },
		"huge":        func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) },
		"zeros":       func(b []byte) []byte { return make([]byte, len(b)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, locallog.Options{})
			add(t, l, "a", "b")
			for _, group := range []string{"hurt", "sound"} {
				if err := l.Commit(t.Context(), group, event.Upload, 0, 1); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "groups", "hurt")
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir, locallog.Options{})
			_, got := l.Committed(t.Context(), "hurt", event.Upload, 0)
			for what, err := range map[string]error{
				"committed": got,
				"commit":    l.Commit(t.Context(), "hurt", event.Upload, 0, 2),
				"consume": l.Consume(t.Context(), "hurt", []string{event.Upload}, func(context.Context, event.Record) error {
					return errors.New("a record is handled")
				}),
			} {
				if !errors.Is(err, event.ErrCorrupt) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if at, err := l.Committed(t.Context(), "sound", event.Upload, 0); err != nil || at != 1 {
				t.Errorf("committed of a sound group: %d, %v", at, err)
			}
			add(t, l, "c")
		})
	}
}
