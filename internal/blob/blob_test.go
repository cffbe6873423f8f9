package blob_test

import (
	"path"
	"strings"
	"testing"

	"github.com/segue-music/segue/internal/blob"
)

func FuzzCheckKey(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../a", "/a", "a//b", "\x00", "renditions/0a/1b", strings.Repeat("a/", 600)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if blob.CheckKey(key) != nil {
			return
		}
		if path.Clean(key) != key || path.IsAbs(key) || strings.HasPrefix(key, "..") || len(key) > blob.MaxKey {
			t.Errorf("%q is taken", key)
		}
	})
}
