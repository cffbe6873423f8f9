package staging_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/services/upload/staging"
)

const one = "0000000000000000000001"

func open(t *testing.T) (*staging.Dir, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "partial")
	d, err := staging.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, dir
}

func TestAppend(t *testing.T) {
	d, _ := open(t)
	big := bytes.Repeat([]byte("x"), 20<<20)
	var saved []int64
	note := func(n int64) error { saved = append(saved, n); return nil }
	if n, err := d.Append(one, 0, 30<<20, bytes.NewReader(big), note); n != 20<<20 || err != nil {
		t.Fatal(n, err)
	}
	if diff := cmp.Diff([]int64{8 << 20, 16 << 20, 20 << 20}, saved); diff != "" {
		t.Error(diff)
	}
	// What is beyond the offset is cut off, what is beyond the limit is not taken.
	if n, err := d.Append(one, 3, 4, strings.NewReader("abcdefgh"), note); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	f, err := d.Read(one)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != "xxxabcd" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestAppend_Failures(t *testing.T) {
	d, _ := open(t)
	broken := io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF))
	size := int64(0)
	if n, err := d.Append(one, 0, 10, broken, func(n int64) error { size = n; return nil }); n != 3 || size != 3 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d, %d, %v", n, size, err)
	}
	refused := errors.New("refused")
	if n, err := d.Append(one, 3, 7, strings.NewReader("defg"), func(int64) error { return refused }); n != 0 || !errors.Is(err, refused) {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := d.Append(one, 8, 2, strings.NewReader("x"), nil); !errors.Is(err, staging.ErrNotFound) {
		t.Errorf("a hole: %v", err)
	}
}

func TestNames(t *testing.T) {
	d, dir := open(t)
	for _, bad := range []string{"", "..", "../x", "a/b", strings.Repeat("z", 22), one + "\x00", ".git"} {
		if _, err := d.Append(bad, 0, 1, strings.NewReader("x"), nil); !errors.Is(err, staging.ErrNotFound) {
			t.Errorf("append %q: %v", bad, err)
		}
		if _, err := d.Read(bad); !errors.Is(err, staging.ErrNotFound) {
			t.Errorf("read %q: %v", bad, err)
		}
		if err := d.Remove(bad); !errors.Is(err, staging.ErrNotFound) {
			t.Errorf("remove %q: %v", bad, err)
		}
	}
	// A link put into the folder leads nowhere.
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, one)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(one); err == nil {
		t.Error("a link out of the folder was followed")
	}
	if got, err := d.List(); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	for range 2 {
		if err := d.Remove(one); err != nil {
			t.Error(err)
		}
	}
}
