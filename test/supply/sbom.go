package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// bom is a CycloneDX document as far as it is checked.
type bom struct {
	Format   string `json:"bomFormat"`
	Spec     string `json:"specVersion"`
	Metadata struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components   []component `json:"components"`
	Dependencies []struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	} `json:"dependencies"`
}

type component struct {
	Ref      string            `json:"bom-ref"`
	Name     string            `json:"name"`
	Group    string            `json:"group"`
	Version  string            `json:"version"`
	PURL     string            `json:"purl"`
	Licenses []json.RawMessage `json:"licenses"`
}

// readBOM reads a document and checks what every one must keep: refs are unique, and
// dependencies name components that are there.
func readBOM(path string) (*bom, error) {
	b, err := os.ReadFile(path) //nolint:gosec // a file named on the command line
	if err != nil {
		return nil, err
	}
	var d bom
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if d.Format != "CycloneDX" || !slices.Contains([]string{"1.5", "1.6"}, d.Spec) {
		return nil, fmt.Errorf("%s is %q %q, no CycloneDX 1.5 or 1.6", path, d.Format, d.Spec)
	}
	var errs []error
	refs := map[string]bool{d.Metadata.Component.Ref: true}
	for _, c := range d.Components {
		switch {
		case c.Ref == "" || refs[c.Ref]:
			errs = append(errs, fmt.Errorf("%s: the ref %q is empty or double", path, c.Ref))
		case c.Name == "" || c.Version == "" || !strings.HasPrefix(c.PURL, "pkg:"):
			errs = append(errs, fmt.Errorf("%s: %s has no name, version or package URL", path, c.Ref))
		}
		refs[c.Ref] = true
	}
	for _, dep := range d.Dependencies {
		for _, ref := range append(slices.Clone(dep.DependsOn), dep.Ref) {
			if !refs[ref] {
				errs = append(errs, fmt.Errorf("%s: a dependency on %q, which is no component", path, ref))
			}
		}
	}
	return &d, errors.Join(errs...)
}

// sbom compares a document with what the linker wrote into the binary.
func sbom(binary, path string, out io.Writer) error {
	d, err := readBOM(path)
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read %s: %w", binary, err)
	}
	listed := map[string]string{}
	for _, c := range d.Components {
		listed[c.Name] = c.Version
	}
	var errs []error
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		if listed[m.Path] != m.Version {
			errs = append(errs, fmt.Errorf("%s holds %s %s, the document lists %q", binary, m.Path, m.Version, listed[m.Path]))
		}
		delete(listed, m.Path)
	}
	if v := listed["std"]; v == "" {
		errs = append(errs, fmt.Errorf("%s does not list the standard library", path))
	}
	delete(listed, "std")
	for name := range listed {
		errs = append(errs, fmt.Errorf("%s lists %s, which %s does not hold", path, name, binary))
	}
	fmt.Fprintf(out, "%s lists the %d modules of %s and the standard library\n", path, len(info.Deps), binary)
	return errors.Join(errs...)
}

// webSBOM checks the document of the player: every package that ships, with its licence.
func webSBOM(path string, out io.Writer) error {
	d, err := readBOM(path)
	if err != nil {
		return err
	}
	packages, err := npmPackages("web/node_modules")
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	var errs []error
	for _, c := range d.Components {
		name := c.Name
		if c.Group != "" {
			name = c.Group + "/" + c.Name
		}
		listed["npm:"+name+" "+c.Version] = true
		if _, known := exceptions()["npm:"+name]; len(c.Licenses) == 0 && !known {
			errs = append(errs, fmt.Errorf("%s: %s has no licence", path, c.Ref))
		}
	}
	ships := 0
	for _, p := range packages {
		if p.ships {
			ships++
			if !listed[p.name+" "+p.version] {
				errs = append(errs, fmt.Errorf("%s does not list %s %s, which the player ships", path, p.name, p.version))
			}
		}
	}
	if ships == 0 {
		errs = append(errs, errors.New("the player ships no package: that cannot be"))
	}
	fmt.Fprintf(out, "%s lists the %d packages of the player\n", path, ships)
	return errors.Join(errs...)
}
