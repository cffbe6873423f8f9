package charts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segue-music/segue/internal/blob"
)

const (
	followEvery = 10 * time.Second
	sweepEvery  = 10 * time.Minute
	maxSnapshot = 16 << 20 // bytes
)

// errSnapshot says that an object is no snapshot.
var errSnapshot = errors.New("chart is malformed")

// follow takes over the charts that the job has published since: PREFIX/charts/P/S/N.json,
// of which the highest N counts. Those of today and yesterday are listed each time, the
// others, which late listens change, now and then.
func (s *Service) follow(ctx context.Context) error {
	prefix := s.Config.SparkPrefix + "charts/"
	now := s.Now().UTC()
	look := []string{prefix}
	if age := now.Sub(s.swept); !s.swept.IsZero() && age >= 0 && age < sweepEvery {
		look = nil
		for _, day := range []time.Time{now.Add(-24 * time.Hour), now} {
			look = append(look, prefix+"hour/"+day.Format("20060102"), prefix+"day/"+day.Format("20060102"))
		}
	}
	newest := map[string]string{}
	for _, part := range look {
		for o, err := range s.Blobs.List(ctx, part) {
			if err != nil {
				return err
			}
			if strings.HasSuffix(o.Key, ".json") {
				newest[path.Dir(o.Key)] = max(newest[path.Dir(o.Key)], o.Key)
			}
		}
	}
	if len(look) == 1 {
		known := map[string]bool{} // and not what is gone
		for _, key := range newest {
			known[key] = s.known[key]
		}
		s.known = known
	}
	var errs []error
	for _, key := range newest {
		if s.known[key] {
			continue
		}
		err := s.takeOver(ctx, strings.TrimPrefix(key, prefix), key)
		if errors.Is(err, blob.ErrNotFound) {
			continue // replaced meanwhile
		}
		if err != nil && !errors.Is(err, errSnapshot) {
			errs = append(errs, err)
			continue
		}
		if err != nil {
			errs = append(errs, err) // told once
		}
		s.known[key] = true
	}
	if len(look) == 1 && len(errs) == 0 {
		s.swept = now
	}
	return errors.Join(errs...)
}

// takeOver reads one snapshot, unless the store has it.
func (s *Service) takeOver(ctx context.Context, name, key string) error {
	p, start, revision, err := parseName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if start.Before(s.oldest()) {
		return nil
	}
	have, err := s.Store.Revision(ctx, p, start)
	if err != nil || have >= revision {
		return err
	}
	r, err := s.Blobs.ReadRange(ctx, key, 0, maxSnapshot+1)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	markets, err := parseSnapshot(b)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if err := s.Store.Replace(ctx, Snapshot{Period: p, Start: start, Revision: revision, Markets: markets}); err != nil {
		return err
	}
	s.metrics.snapshots.Inc()
	return nil
}

// parseName reads P/S/N.json.
func parseName(name string) (p Period, start time.Time, revision int64, err error) {
	parts := strings.Split(strings.TrimSuffix(name, ".json"), "/")
	if len(parts) != 3 {
		return 0, start, 0, errSnapshot
	}
	var form string
	switch parts[0] {
	case "hour":
		p, form = Hour, "20060102T15"
	case "day":
		p, form = Day, "20060102"
	default:
		return 0, start, 0, errSnapshot
	}
	start, err1 := time.Parse(form, parts[1])
	revision, err2 := strconv.ParseInt(parts[2], 10, 64)
	if errors.Join(err1, err2) != nil || revision < 0 {
		return 0, start, 0, errSnapshot
	}
	return p, start, revision, nil
}

// parseSnapshot reads what the job wrote; "*" is everywhere.
func parseSnapshot(b []byte) (map[string][]Entry, error) {
	if len(b) > maxSnapshot {
		return nil, fmt.Errorf("%w: over %d bytes", errSnapshot, maxSnapshot)
	}
	var in struct {
		Markets map[string][]struct {
			Track string `json:"track"`
			Plays uint64 `json:"plays"`
		} `json:"markets"`
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&in); err != nil {
		return nil, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	out := map[string][]Entry{}
	for name, list := range in.Markets {
		switch {
		case name == "*":
			name = Everywhere
		case marketOf(name) == Everywhere:
			return nil, fmt.Errorf("%w: market %q", errSnapshot, name)
		}
		if len(list) > Size {
			return nil, fmt.Errorf("%w: %d entries", errSnapshot, len(list))
		}
		var entries []Entry
		for _, e := range list {
			twice := slices.ContainsFunc(entries, func(o Entry) bool { return o.TrackID == e.Track })
			if !isID(e.Track) || e.Plays == 0 || e.Plays > 1<<62 || twice {
				return nil, fmt.Errorf("%w: track %q with %d plays", errSnapshot, e.Track, e.Plays)
			}
			entries = append(entries, Entry{e.Track, e.Plays})
		}
		out[name] = entries
	}
	return out, nil
}
