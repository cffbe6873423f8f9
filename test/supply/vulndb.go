package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// entry is what the index needs of a report in OSV form.
type entry struct {
	ID        string    `json:"id"`
	Modified  time.Time `json:"modified"`
	Withdrawn string    `json:"withdrawn"`
	Affected  []struct {
		Package struct {
			Name      string `json:"name"`
			Ecosystem string `json:"ecosystem"`
		} `json:"package"`
		Ranges []struct {
			Type   string `json:"type"`
			Events []struct {
				Introduced string `json:"introduced"`
				Fixed      string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
	} `json:"affected"`
}

// vuln and module are the index as https://go.dev/security/vuln/database has it.
type vuln struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"`
}

type module struct {
	Path  string `json:"path"`
	Vulns []vuln `json:"vulns"`
}

// vulndb makes the database that govulncheck reads (-db file://DST) from the source of
// golang.org/x/vulndb in src: the reports as they are, and the index over them.
func vulndb(src, dst string, out io.Writer) error {
	files, err := filepath.Glob(filepath.Join(src, "data/osv/GO-*.json"))
	if err != nil {
		return err
	}
	if len(files) < 1000 {
		return fmt.Errorf("only %d reports in %s", len(files), src)
	}
	for _, dir := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(dst, dir), 0o750); err != nil { //nolint:gosec // the folder of the argument
			return err
		}
	}
	index := map[string]map[string]vuln{}
	for _, f := range files {
		b, err := os.ReadFile(f) //nolint:gosec // a file that Glob found in the folder of the argument
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(b, &e); err != nil {
			return fmt.Errorf("read %s: %w", f, err)
		}
		if e.Withdrawn != "" {
			continue
		}
		if e.ID != strings.TrimSuffix(filepath.Base(f), ".json") {
			return fmt.Errorf("%s is of %q", f, e.ID)
		}
		if err := os.WriteFile(filepath.Join(dst, "ID", e.ID+".json"), b, 0o600); err != nil { //nolint:gosec // the id is the name of the file it was read from
			return err
		}
		for _, a := range e.Affected {
			if a.Package.Ecosystem != "Go" {
				continue
			}
			v := vuln{ID: e.ID, Modified: e.Modified}
			for _, r := range a.Ranges {
				for _, ev := range r.Events {
					if ev.Fixed != "" && semver.Compare("v"+ev.Fixed, "v"+v.Fixed) > 0 {
						v.Fixed = ev.Fixed
					}
				}
			}
			if index[a.Package.Name] == nil {
				index[a.Package.Name] = map[string]vuln{}
			}
			index[a.Package.Name][e.ID] = v
		}
	}
	modules := make([]module, 0, len(index))
	for path, vs := range index {
		m := module{Path: path}
		for _, v := range vs {
			m.Vulns = append(m.Vulns, v)
		}
		slices.SortFunc(m.Vulns, func(a, b vuln) int { return strings.Compare(a.ID, b.ID) })
		modules = append(modules, m)
	}
	slices.SortFunc(modules, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	err1 := writeJSON(filepath.Join(dst, "index/modules.json"), modules)
	err2 := writeJSON(filepath.Join(dst, "index/db.json"), map[string]time.Time{"modified": time.Unix(0, 0).UTC()})
	fmt.Fprintf(out, "%d reports on %d modules\n", len(files), len(modules))
	return errors.Join(err1, err2)
}

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600) //nolint:gosec // in the folder of the argument
}
