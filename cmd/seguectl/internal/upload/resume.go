package upload

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/home"
)

// Resume remembers the URLs of uploads that are under way, so that the next run of
// seguectl goes on where this one was cut off. There is one file per upload: runs at the
// same time do not meet.
type Resume struct{ dir string }

// forgetAfter is when an upload is not worth a question to the server any more.
const forgetAfter = 14 * 24 * time.Hour

// NewResume keeps them in a folder, which exists, and clears out old ones.
func NewResume(dir string) *Resume {
	r := &Resume{dir}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return r // find will not find anything either
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > forgetAfter {
			_ = os.Remove(filepath.Join(dir, e.Name())) // it is tried again next time
		}
	}
	return r
}

// keyOf names a file as it is now: after a change it is another.
func keyOf(path string, info fs.FileInfo) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %d", abs, info.Size(), info.ModTime().UnixNano()))
	return hex.EncodeToString(sum[:16])
}

// find gives a remembered upload below endpoint, nil where there is none.
func (r *Resume) find(key string, endpoint *url.URL) *url.URL {
	if r == nil {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(r.dir, key))
	if err != nil {
		return nil
	}
	at, err := url.Parse(strings.TrimSpace(string(b)))
	if err != nil || at.Scheme != endpoint.Scheme || at.Host != endpoint.Host {
		return nil // of another server
	}
	return at
}

func (r *Resume) keep(key string, at *url.URL) error {
	if r == nil {
		return nil
	}
	return home.WriteFile(filepath.Join(r.dir, key), []byte(at.String()+"\n"))
}

func (r *Resume) drop(key string) error {
	if r == nil {
		return nil
	}
	err := os.Remove(filepath.Join(r.dir, key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget upload: %w", err)
	}
	return nil
}
