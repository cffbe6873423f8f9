package index_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/audio/fingerprint/index"
)

// copyOf is what a crash leaves: the files as they are.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func holds(t *testing.T, x index.Index, want ...int) {
	t.Helper()
	if x.Len() != len(want) {
		t.Errorf("%d tracks, want %d", x.Len(), len(want))
	}
	for _, n := range want {
		m, err := x.Query(tune(uint64(n), 400))
		if err != nil || len(m) != 1 || m[0].ID != id(n) || m[0].ErrorRate != 0 {
			t.Errorf("track %d: %+v, %v", n, m, err)
		}
	}
}

func TestDisk_crash(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, config(1))
	states := map[string][]int{}
	keep := func(want ...int) {
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		states[copyOf(t, dir)] = want
	}
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	keep()
	do(d.Insert(id(1), tune(1, 400)), d.Insert(id(2), tune(2, 400)))
	keep(1, 2)
	do(d.Flush())
	keep(1, 2)
	do(d.Insert(id(3), tune(3, 400)), d.Remove(id(1)))
	keep(2, 3)
	do(d.Flush())
	keep(2, 3)
	do(d.Insert(id(2), tune(2, 400)), d.Insert(id(1), tune(1, 400)))
	keep(1, 2, 3)
	do(d.Merge())
	keep(1, 2, 3)
	do(d.Remove(id(3)), d.Flush())
	keep(1, 2)
	do(d.Merge())
	keep(1, 2)
	for state, want := range states {
		again := open(t, state, config(1))
		holds(t, again, want...)
		if err := again.Verify(); err != nil {
			t.Error(err)
		}
	}
	if s := d.Stats(); s.Segments != 1 || s.Tracks != 2 || s.Items != 800 {
		t.Errorf("%+v", s)
	}
}

// TestDisk_tornJournal cuts the journal at every byte: what was whole is there.
func TestDisk_tornJournal(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, config(1))
	for n := range 3 {
		if err := d.Insert(id(n), tune(uint64(n), 400)[:60]); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	whole, err := os.ReadFile(logs[0])
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	record := len(whole) / 3
	for cut := 0; cut <= len(whole); cut += 7 {
		for _, tail := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff"} {
			if err := os.WriteFile(logs[0], append(slices.Clone(whole[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := index.Open(dir, config(1))
			if err != nil {
				t.Fatal(err)
			}
			if d.Len() != cut/record {
				t.Fatalf("cut at %d of %d: %d tracks", cut, len(whole), d.Len())
			}
			if err := errors.Join(d.Insert(id(9), tune(9, 400)), d.Close()); err != nil {
				t.Fatal(err)
			}
			d = open(t, dir, config(1))
			if d.Len() != cut/record+1 {
				t.Fatalf("cut at %d of %d, and one more: %d tracks", cut, len(whole), d.Len())
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestDisk_leftOver opens a folder in which a crash left files that no manifest names.
func TestDisk_leftOver(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, config(1))
	if err := errors.Join(d.Insert(id(1), tune(1, 400)), d.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"000000009.seg", "000000010.log", "manifest.new", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, open(t, dir, config(1)), 1)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	if got := strings.Join(names, " "); got != "000000000.log lock manifest notes.txt" {
		t.Errorf("left: %s", got)
	}
}

// TestDisk_corrupt turns each byte of the small parts, and some of the rest, into another: it is noticed where the file is
// opened or verified, and a query says so or gives right answers.
func TestDisk_corrupt(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, config(1))
	for n := range 2 {
		if err := d.Insert(id(n), tune(uint64(n), 400)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Merge(), d.Close()); err != nil {
		t.Fatal(err)
	}
	segments, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	for _, path := range append(segments, filepath.Join(dir, "manifest")) {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole); at += 1 + len(whole)/500 {
			bad := slices.Clone(whole)
			bad[at] ^= 0x41
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := index.Open(dir, config(1))
			if err != nil {
				if !errors.Is(err, index.ErrCorrupt) {
					t.Errorf("byte %d of %s: %v", at, filepath.Base(path), err)
				}
				continue
			}
			if m, err := d.Query(tune(1, 400)); err != nil && !errors.Is(err, index.ErrCorrupt) || err == nil && (len(m) != 1 || m[0].ID != id(1)) {
				t.Errorf("byte %d of %s: %+v, %v", at, filepath.Base(path), m, err)
			}
			if err := d.Verify(); !errors.Is(err, index.ErrCorrupt) {
				t.Errorf("byte %d of %s was not noticed: %v", at, filepath.Base(path), err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, open(t, dir, config(1)), 0, 1)
}

func TestDisk_Open_bad(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, config(1))
	if _, err := index.Open(dir, config(1)); err == nil {
		t.Error("opened twice")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(dir, config(8)); !errors.Is(err, index.ErrConfig) {
		t.Errorf("another sample: %v", err)
	}
}

// TestDisk_noManifest opens a folder that a crash left before there was a manifest, and one whose manifest went.
func TestDisk_noManifest(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "000000000.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir, config(1))
	if err := errors.Join(d.Insert(id(1), tune(1, 400)), d.Close(), os.Remove(filepath.Join(dir, "manifest"))); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(dir, config(1)); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("without its manifest: %v", err)
	}
}

// TestDisk_Load loads many at once, beside what is inserted one by one.
func TestDisk_Load(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, config(1))
	if err := d.Insert(id(0), tune(0, 400)); err != nil {
		t.Fatal(err)
	}
	err := d.Load(func(yield func(index.ID, fingerprint.Fingerprint) bool) {
		for n := 1; n < 30; n++ {
			if !yield(id(n), tune(uint64(n), 400)) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := make([]int, 30)
	for n := range want {
		want[n] = n
	}
	holds(t, d, want...)
	if err := errors.Join(d.Merge(), d.Verify(), d.Close()); err != nil {
		t.Fatal(err)
	}
	holds(t, open(t, dir, config(1)), want...)
}

// TestDisk_manySegments flushes often: segments are merged, and few are left.
func TestDisk_manySegments(t *testing.T) {
	d := open(t, t.TempDir(), config(1))
	want := make([]int, 40)
	for n := range want {
		want[n] = n
		if err := errors.Join(d.Insert(id(n), tune(uint64(n), 400)), d.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if s := d.Stats(); s.Segments > 20 {
		t.Errorf("%d segments", s.Segments)
	}
	holds(t, d, want...)
}
