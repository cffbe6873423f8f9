package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Check returns what in the tree breaks the policy, each as "rule N: path: what".
func Check(root fs.FS, p Policy) ([]string, error) {
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	c := &checker{tree: t, policy: p, used: map[string]bool{}}
	topics := c.topics()
	for _, dir := range slices.Sorted(maps.Keys(t.pkgs)) {
		pk := t.pkgs[dir]
		generated := match("gen/...", dir)
		for _, f := range pk.files {
			c.imports(pk, f)
			if !generated {
				c.size(f)
				c.names(f, topics)
			}
		}
		if !generated {
			c.pkg(pk)
			c.globals(pk)
		}
	}
	c.stale()
	slices.Sort(c.found)
	return slices.Compact(c.found), nil
}

type checker struct {
	tree   *tree
	policy Policy
	used   map[string]bool // entries of the policy that matched something
	found  []string
}

func (c *checker) add(rule int, where, format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf("rule %d: %s: %s", rule, where, fmt.Sprintf(format, args...)))
}

// layerOf is the index of the layer of a folder, -1 when there is none.
func (c *checker) layerOf(dir string) int {
	return slices.IndexFunc(c.policy.Layers, func(l Layer) bool { return match(l.Packages, dir) })
}

// imports checks rules 1 to 3. Tests of a package may use engines and what is below them.
func (c *checker) imports(pk *pkg, f *file) {
	layer := c.layerOf(pk.dir)
	if layer < 0 {
		c.add(1, f.path, "%s is in no layer", pk.dir)
		return
	}
	c.used[c.policy.Layers[layer].Packages] = true
	for _, imp := range f.imports() {
		dir, ours := local(imp)
		if !ours {
			c.driver(pk, f, imp)
			continue
		}
		if dir == pk.dir || f.test {
			c.testImport(pk, f, dir)
			continue
		}
		allowed := c.policy.Layers[layer].May
		if !matchAny(allowed, dir) {
			rule := 1
			if match("services/*/...", dir) || match("edge/*/...", dir) {
				rule = 2
			}
			c.add(rule, f.path, "%s may not import %s", pk.dir, dir)
		}
		for _, e := range c.policy.Engines {
			if match(e, dir) {
				c.used[e] = true
				if !matchAny(c.policy.EngineUsers, pk.dir) {
					c.add(3, f.path, "engine %s is picked outside %v", dir, c.policy.EngineUsers)
				}
			}
		}
	}
}

// testImport lets tests use anything but another service or edge.
func (c *checker) testImport(pk *pkg, f *file, dir string) {
	owner := func(d string) string {
		if parts := strings.Split(d, "/"); len(parts) > 1 && (parts[0] == "services" || parts[0] == "edge") {
			return parts[0] + "/" + parts[1]
		}
		return ""
	}
	if a, b := owner(pk.dir), owner(dir); a != "" && b != "" && a != b {
		c.add(2, f.path, "a test of %s may not import %s", a, dir)
	}
}

func (c *checker) driver(pk *pkg, f *file, imp string) {
	for prefix, users := range c.policy.Drivers {
		if imp != prefix && !strings.HasPrefix(imp, prefix+"/") {
			continue
		}
		c.used[prefix] = true
		if !f.test && !matchAny(users, pk.dir) {
			c.add(3, f.path, "driver %s is for %v", imp, users)
		}
		for _, u := range users {
			if match(u, pk.dir) {
				c.used[prefix+" "+u] = true
			}
		}
	}
}

func (c *checker) size(f *file) {
	if f.test {
		return
	}
	limit := maxFileLines
	switch {
	case path.Base(f.path) == "main.go" && match("cmd/*", path.Dir(f.path)):
		limit = maxMainLines
	case path.Dir(f.path) == "internal/app":
		limit = maxWiringLines
	}
	if f.lines <= limit {
		return
	}
	if c.policy.LongFiles[f.path] != "" {
		c.used[f.path] = true
		return
	}
	c.add(7, f.path, "%d lines, over %d", f.lines, limit)
}

// topics are the names that the topics file gives to constants.
func (c *checker) topics() map[string]bool {
	out := map[string]bool{}
	pk := c.tree.pkgs[path.Dir(c.policy.TopicsFile)]
	if pk == nil {
		return out
	}
	for _, f := range pk.files {
		if f.path != c.policy.TopicsFile {
			continue
		}
		c.used[f.path] = true
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && strings.HasSuffix(s, "-events") || strings.HasSuffix(l.Value, `-diagnostics"`) {
					out[strings.Trim(l.Value, `"`)] = true
				}
			}
			return true
		})
	}
	return out
}

// names checks rules 5 and 6: literals that only one place may write.
func (c *checker) names(f *file, topics map[string]bool) {
	if f.test {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && definesTarget(call) && !matchAny(c.policy.TargetKnowers, path.Dir(f.path)) {
			c.add(5, f.path, "the flag -target is known outside %v", c.policy.TargetKnowers)
		}
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && f.path != c.policy.TopicsFile && topics[strings.Trim(l.Value, `"`)] {
			c.add(6, f.path, "topic %s is named outside %s", l.Value, c.policy.TopicsFile)
		}
		return true
	})
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			c.add(8, f.path, "init()")
		}
	}
}

// definesTarget reports a call such as fs.StringVar(&x, "target", …) or fs.String("target", …).
func definesTarget(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !strings.HasPrefix(sel.Sel.Name, "String") && sel.Sel.Name != "Var" && sel.Sel.Name != "Func" && sel.Sel.Name != "Lookup" {
		return false
	}
	return slices.ContainsFunc(call.Args, func(a ast.Expr) bool {
		l, ok := a.(*ast.BasicLit)
		return ok && l.Value == `"target"`
	})
}

// pkg checks what rules 7 and 8 say of a package.
func (c *checker) pkg(pk *pkg) {
	files, lines, docs := 0, 0, 0
	name := ""
	for _, f := range pk.files {
		if f.test {
			continue
		}
		files, lines, name = files+1, lines+f.lines, f.ast.Name.Name
		if f.ast.Doc != nil {
			docs++
		}
	}
	if files == 0 {
		return
	}
	if docs != 1 {
		c.add(8, pk.dir, "%d package comments, want one", docs)
	}
	if slices.Contains(c.policy.BannedNames, name) {
		c.add(8, pk.dir, "%s is no name for a package", name)
	}
	if files > maxPackageFiles || lines > maxPackageLines {
		if c.policy.WidePackages[pk.dir] != "" {
			c.used[pk.dir] = true
			return
		}
		c.add(7, pk.dir, "%d files of %d lines, over %d or %d", files, lines, maxPackageFiles, maxPackageLines)
	}
}

// stale finds entries of the policy that mean nothing any more.
func (c *checker) stale() {
	report := func(what, name string) {
		if !c.used[name] {
			c.add(10, "policy", "%s %q matches nothing", what, name)
		}
	}
	for _, l := range c.policy.Layers {
		report("layer", l.Packages)
	}
	for _, e := range c.policy.Engines {
		report("engine", e)
	}
	for prefix, users := range c.policy.Drivers {
		report("driver", prefix)
		for _, u := range users {
			report("driver's user", prefix+" "+u)
		}
	}
	for f := range c.policy.LongFiles {
		report("long file", f)
	}
	for p := range c.policy.WidePackages {
		report("wide package", p)
	}
	report("topics file", c.policy.TopicsFile)
}
