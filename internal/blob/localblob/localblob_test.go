package localblob_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/blobtest"
	"github.com/segue-music/segue/internal/blob/localblob"
)

func open(t *testing.T, dir string) *localblob.Store {
	t.Helper()
	s, err := localblob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}

func TestStore_Open(t *testing.T) {
	t.Run("removes_unfinished_puts", func(t *testing.T) {
		dir := t.TempDir()
		left := filepath.Join(dir, "tmp", "17")
		open(t, dir)
		if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, dir)
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("stat of the unfinished put: %v", err)
		}
	})
	t.Run("link_out_of_the_folder", func(t *testing.T) {
		dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
		s := open(t, dir)
		if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(dir, "objects", "link")); err != nil {
			t.Fatal(err)
		}
		if o, err := s.Open(t.Context(), "link"); err == nil {
			t.Errorf("a link out of the folder opens, %d bytes", o.Size())
		}
	})
	t.Run("key_below_an_object", func(t *testing.T) {
		s := open(t, t.TempDir())
		if err := s.Put(t.Context(), "a", strings.NewReader("x"), blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(t.Context(), "a/b"); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("open a/b: %v", err)
		}
	})
}

func TestStore_OpenFile(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Put(t.Context(), "a/b", strings.NewReader("sound"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	f, err := s.OpenFile(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() != 5 || !fi.Mode().IsRegular() {
		t.Errorf("stat %v, %v", fi, err)
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("the file can be written")
	}
}
