package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	manifestName = "manifest"
	lockName     = "lock"
	segmentEnd   = ".seg"
	journalEnd   = ".log"
	maxManifest  = 1 << 30
	maxSegments  = 1 << 10
)

// manifest says what the index consists of. It changes by the rename of a file; what it does not name is left over from a
// crash. On disk its CRC-32C comes first, in a line of its own.
type manifest struct {
	Sample   int             `json:"sample"`
	Next     uint64          `json:"next"` // the name of the next file
	Journal  string          `json:"journal"`
	Segments []segmentRecord `json:"segments"`
}

type segmentRecord struct {
	Name string `json:"name"`
	// Dead are the fingerprints that were removed before the journal began.
	Dead []uint32 `json:"dead,omitempty"`
}

func (m *manifest) name(end string) string {
	m.Next++
	return fmt.Sprintf("%09d%s", m.Next-1, end)
}

func readManifest(dir string) (m manifest, found bool, err error) {
	info, err := os.Stat(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	if info.Size() > maxManifest {
		return m, false, fmt.Errorf("%w: %s", ErrCorrupt, manifestName)
	}
	raw, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return m, false, err
	}
	if err := m.parse(raw); err != nil {
		return m, false, fmt.Errorf("%w: %s", err, manifestName)
	}
	return m, true, nil
}

func (m *manifest) parse(raw []byte) error {
	sum, body, _ := bytes.Cut(raw, []byte("\n"))
	if string(sum) != fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)) || json.Unmarshal(body, m) != nil {
		return ErrCorrupt
	}
	if len(m.Segments) > maxSegments || !plain(m.Journal, journalEnd) {
		return ErrCorrupt
	}
	for _, s := range m.Segments {
		if !plain(s.Name, segmentEnd) {
			return ErrCorrupt
		}
	}
	return nil
}

// plain tells whether name is one of a file in this folder.
func plain(name, end string) bool {
	return strings.HasSuffix(name, end) && filepath.Base(name) == name
}

func (m *manifest) write(dir string) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, manifestName)
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "%08x\n%s", crc32.Checksum(body, castagnoli), body); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sweep removes what a crash left over.
func (m *manifest) sweep(dir string) error {
	named := map[string]bool{manifestName: true, lockName: true, m.Journal: true}
	for _, s := range m.Segments {
		named[s.Name] = true
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		ours := f.Name() == manifestName+".new" || strings.HasSuffix(f.Name(), segmentEnd) || strings.HasSuffix(f.Name(), journalEnd)
		if ours && !named[f.Name()] {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// fresh makes sure that a folder without a manifest never had one: a crash may have left an empty journal, no more.
func fresh(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), segmentEnd) && !strings.HasSuffix(f.Name(), journalEnd) {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return err
		}
		if info.Size() > 0 {
			return fmt.Errorf("%w: there is %s, and no manifest", ErrCorrupt, f.Name())
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
