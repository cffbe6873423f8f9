package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// exception is a dependency whose licence is not found by its files, or not on the list.
type exception struct{ licence, reason string }

// exceptions by dependency. One that is needed no more is an error, so that the table
// stays true.
func exceptions() map[string]exception {
	return map[string]exception{
		"kernel.org/pub/linux/libs/security/libcap/psx": {"BSD-3-Clause", "its file leaves the choice between the BSD licence and the GPL; we take the BSD licence"},
		"npm:codec-parser": {"LGPL-3.0-or-later", "installed with the WebAssembly decoder and no part of what is built: " +
			"web/vite.config.ts puts an empty module in its place"},
		"npm:combine-errors": {"MIT", "package.json and files name none; its Readme does"},
	}
}

// dependency is a module or a package that something of ours is made with.
type dependency struct {
	name, version string
	ships         bool // in a binary or in the player; else tests and tools only
	licences      []string
	problem       string
}

// licences checks every dependency of the repository at root.
func licences(root string, out io.Writer) error {
	mods, err := goModules(root)
	if err != nil {
		return err
	}
	packages, err := npmPackages(filepath.Join(root, "web/node_modules"))
	if err != nil {
		return err
	}
	if len(mods) < 20 || len(packages) < 20 {
		return fmt.Errorf("only %d modules and %d npm packages were found", len(mods), len(packages))
	}
	return judge(append(mods, packages...), exceptions(), out)
}

// judge denies what is not allowed and not in the table.
func judge(all []dependency, table map[string]exception, out io.Writer) error {
	var errs []error
	count := map[string]int{}
	used := map[string]bool{}
	for _, d := range all {
		bad := slices.DeleteFunc(slices.Clone(d.licences), func(l string) bool { return slices.Contains(allowed(), l) })
		why := d.problem
		switch {
		case why != "":
		case len(d.licences) == 0:
			why = "no licence was recognised"
		case len(bad) > 0:
			why = "has " + strings.Join(bad, ", ")
		}
		if e, ok := table[d.name]; ok && why != "" {
			used[d.name] = true
			count[e.licence]++
			continue
		}
		if why != "" {
			errs = append(errs, fmt.Errorf("%s %s: %s", d.name, d.version, why))
			continue
		}
		count[strings.Join(d.licences, " and ")]++
	}
	for name, e := range table {
		switch {
		case !used[name]:
			errs = append(errs, fmt.Errorf("the exception for %s is needed no more", name))
		case e.reason == "" || e.licence == "":
			errs = append(errs, fmt.Errorf("the exception for %s has no licence or no reason", name))
		}
	}
	ships := 0
	for _, d := range all {
		if d.ships {
			ships++
		}
	}
	fmt.Fprintf(out, "%d dependencies, %d of them shipped:\n", len(all), ships)
	for _, l := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(out, "  %4d  %s\n", count[l], l)
	}
	return errors.Join(errs...)
}

// listed is what go list tells of a package.
type listed struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Path, Version, Dir string }
	}
}

// goModules are the modules from which anything here is compiled, tests and tools too.
func goModules(root string) ([]dependency, error) {
	found := map[string]*dependency{}
	for _, q := range []struct {
		ships bool
		args  []string
	}{
		{true, []string{"./cmd/segue", "./cmd/seguectl"}},
		{false, []string{"-test", "-tags=system,engines,fault", "./...", "tool"}},
	} {
		cmd := exec.CommandContext(context.Background(), "go", append([]string{"list", "-deps", "-json=Dir,Standard,Module"}, q.args...)...)
		cmd.Dir = root
		cmd.Stderr = os.Stderr
		b, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		for {
			var p listed
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("go list: %w", err)
			}
			if p.Standard || p.Module == nil || p.Module.Main {
				continue
			}
			m := *p.Module
			if m.Replace != nil {
				m.Dir, m.Version = m.Replace.Dir, m.Replace.Version
			}
			d := found[m.Path]
			if d == nil {
				d = &dependency{name: m.Path, version: m.Version, ships: q.ships}
				found[m.Path] = d
				d.add(m.Dir)
			}
			// A package may bring a licence of its own below its module's.
			for dir := p.Dir; strings.HasPrefix(dir, m.Dir+string(filepath.Separator)); dir = filepath.Dir(dir) {
				d.add(dir)
			}
		}
	}
	var out []dependency
	for _, name := range slices.Sorted(maps.Keys(found)) {
		out = append(out, *found[name])
	}
	return out, nil
}

// add reads the licence files of one folder.
func (d *dependency) add(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		d.problem = "cannot be read: " + err.Error()
		return
	}
	for _, e := range entries {
		if e.IsDir() || !fileOfLicence.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			d.problem = "cannot be read: " + err.Error()
			return
		}
		for _, l := range classify(string(b)) {
			if !slices.Contains(d.licences, l) {
				d.licences = append(d.licences, l)
			}
		}
	}
	slices.Sort(d.licences)
}

// npmPackages are the installed packages of the player. The licence is that of the file
// in the package; what package.json says must agree, and is enough where there is no file
// and the package ships nothing.
func npmPackages(dir string) ([]dependency, error) {
	b, err := os.ReadFile(filepath.Join(dir, ".package-lock.json"))
	if err != nil {
		return nil, fmt.Errorf("%w: run scripts/web.sh first", err)
	}
	var lock struct {
		Packages map[string]struct {
			Version, License string
			Dev, DevOptional bool
			Optional         bool
		}
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		return nil, fmt.Errorf("read installed npm packages: %w", err)
	}
	var out []dependency
	for _, at := range slices.Sorted(maps.Keys(lock.Packages)) {
		p := lock.Packages[at]
		d := dependency{name: "npm:" + at[strings.LastIndex(at, "node_modules/")+len("node_modules/"):], version: p.Version, ships: !p.Dev && !p.DevOptional}
		where := filepath.Join(dir, "..", at)
		if _, err := os.Stat(where); errors.Is(err, os.ErrNotExist) && p.Optional {
			continue // for another kind of machine
		}
		d.add(where)
		said := alternatives(p.License)
		switch {
		case len(d.licences) == 0 && (!d.ships || len(said) > 0):
			d.licences = said
		case len(said) > 0 && !slices.ContainsFunc(said, func(l string) bool { return slices.Contains(d.licences, l) }):
			d.problem = fmt.Sprintf("says %s, its file is %s", p.License, strings.Join(d.licences, ", "))
		}
		out = append(out, d)
	}
	return out, nil
}

// alternatives reads an SPDX expression as far as packages use them: "(MIT OR Apache-2.0)"
// leaves the choice, of which an allowed one is taken; with AND all count.
func alternatives(expr string) []string {
	expr = strings.Trim(expr, "() ")
	if expr == "" {
		return nil
	}
	if either := strings.Split(expr, " OR "); len(either) > 1 {
		for _, l := range either {
			if slices.Contains(allowed(), strings.Trim(l, "() ")) {
				return []string{strings.Trim(l, "() ")}
			}
		}
	}
	var out []string
	for l := range strings.SplitSeq(expr, " AND ") {
		out = append(out, strings.Trim(l, "() "))
	}
	return out
}
