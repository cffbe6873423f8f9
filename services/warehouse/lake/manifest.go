package lake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/services/warehouse"
)

const (
	manifests      = "manifest/" // manifest/topic=T/date=D/hour=HH/VERSION.json
	manifestSuffix = ".json"
	maxManifest    = 16 << 20 // bytes that are read of one
)

// manifest is the list of the files that an hour of a topic consists of. It is put once;
// the highest version counts.
type manifest struct {
	Files []manifestFile `json:"files"`

	name    string // its folder: topic=T/date=D/hour=HH
	version int
	written time.Time
}

type manifestFile struct {
	Key       string `json:"key"` // below the lake's prefix
	Partition int32  `json:"partition"`
	First     int64  `json:"first_offset"`
	Next      int64  `json:"next_offset"` // not included
	Oldest    int64  `json:"oldest"`      // of event times, in microseconds of Unix time
	Newest    int64  `json:"newest"`
}

func (f *manifestFile) file(topic string) warehouse.File {
	return warehouse.File{
		Name: f.Key, Topic: topic, Partition: f.Partition, First: f.First, Next: f.Next, Oldest: micros(f.Oldest), Newest: micros(f.Newest),
	}
}

// covers reports whether the manifest speaks for a file of its hour.
func (m *manifest) covers(f warehouse.File) bool {
	return slices.ContainsFunc(m.Files, func(l manifestFile) bool {
		return l.Partition == f.Partition && l.First <= f.First && f.First < l.Next
	})
}

// lists reports whether a file is one of the manifest's.
func (m *manifest) lists(f warehouse.File) bool {
	return slices.ContainsFunc(m.Files, func(l manifestFile) bool { return l.Key == f.Name })
}

// hourOf is the folder of a file and the time that it names.
func hourOf(f warehouse.File) (folder string, hour time.Time, ok bool) {
	folder = f.Name[:strings.LastIndexByte(f.Name, '/')]
	dirs := strings.Split(folder, "/")
	if len(dirs) != 3 {
		return "", hour, false
	}
	hour, err := time.Parse("date=2006-01-02/hour=15", dirs[1]+"/"+dirs[2])
	return folder, hour, err == nil
}

// manifests reads the newest manifest of each hour, by its folder.
func (s *Store) manifests(ctx context.Context) (map[string]*manifest, error) {
	newest := map[string]*manifest{}
	for info, err := range s.blobs.List(ctx, s.prefix+manifests) {
		if err != nil {
			return nil, fmt.Errorf("list manifests: %w", err)
		}
		key := strings.TrimPrefix(info.Key, s.prefix+manifests)
		slash := strings.LastIndexByte(key, '/')
		text, ok := strings.CutSuffix(key[slash+1:], manifestSuffix)
		version, err := strconv.Atoi(text)
		if !ok || slash < 0 || err != nil {
			continue // not ours
		}
		if m := newest[key[:slash]]; m == nil || m.version < version {
			newest[key[:slash]] = &manifest{name: key[:slash], version: version, written: info.ModTime}
		}
	}
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(footersAtOnce)
	for folder, m := range newest {
		if known := s.read[folder]; known != nil && known.version == m.version {
			newest[folder] = known
			continue
		}
		eg.Go(func() error { return s.load(ctx, m) })
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	s.read = newest
	return newest, nil
}

func (m *manifest) key() string {
	return manifests + m.name + fmt.Sprintf("/%06d", m.version) + manifestSuffix
}

func (s *Store) load(ctx context.Context, m *manifest) error {
	r, err := s.blobs.ReadRange(ctx, s.prefix+m.key(), 0, -1)
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	defer func() { _ = r.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	if err := json.Unmarshal(b, m); err != nil {
		return fmt.Errorf("read manifest %s: %w: %w", m.key(), warehouse.ErrCorrupt, err)
	}
	return nil
}

// publish puts a manifest; not ok where another was first.
func (s *Store) publish(ctx context.Context, m *manifest) (ok bool, err error) {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return false, err
	}
	err = s.blobs.Put(ctx, s.prefix+m.key(), bytes.NewReader(b), blob.PutOptions{IfAbsent: true, Size: int64(len(b))})
	if errors.Is(err, blob.ErrExists) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("publish manifest: %w", err)
	}
	return true, nil
}
