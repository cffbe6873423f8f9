// Package upload brings files to a Segue server and follows them until they play.
package upload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File is one file to upload.
type File struct {
	Path string
	Size int64
}

// ErrNoFile says that there is nothing to upload.
var ErrNoFile = errors.New("no audio file found")

// audio are the endings of the names that are taken out of folders. A file that is
// named itself is taken whatever its name: the server looks at the content.
var audio = [...]string{
	".aac", ".aif", ".aifc", ".aiff", ".alac", ".ape", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mp3", ".mp4", ".mpc",
	".oga", ".ogg", ".opus", ".tta", ".wav", ".weba", ".wma", ".wv",
}

// Find lists the files of paths: files as they are, folders with the audio files in
// them, in the order of their names. Links inside folders and hidden files are left out.
// Each file comes once.
func Find(paths []string) ([]File, error) {
	var out []File
	seen := map[string]bool{}
	add := func(path string, info fs.FileInfo) {
		key, err := filepath.Abs(path)
		if err != nil {
			key = path
		}
		if !seen[key] {
			seen[key] = true
			out = append(out, File{path, info.Size()})
		}
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("find files: %w", err)
		}
		switch {
		case info.IsDir():
			if err := walk(p, add); err != nil {
				return nil, fmt.Errorf("find files: %w", err)
			}
		case info.Mode().IsRegular():
			add(p, info)
		default:
			return nil, fmt.Errorf("find files: %s is neither a file nor a folder", p)
		}
	}
	if len(out) == 0 {
		return nil, ErrNoFile
	}
	return out, nil
}

func walk(root string, add func(string, fs.FileInfo)) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if hidden := strings.HasPrefix(d.Name(), "."); hidden && path != root {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !slices.Contains(audio[:], strings.ToLower(filepath.Ext(path))) {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		if info.Size() > 0 {
			add(path, info)
		}
		return nil
	})
}
