package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// file is one Go file of the tree.
type file struct {
	path  string // from the root
	lines int
	test  bool
	ast   *ast.File
}

// pkg is the files of one folder.
type pkg struct {
	dir   string
	files []*file
}

// tree is the module's Go files by folder.
type tree struct {
	fset *token.FileSet
	pkgs map[string]*pkg
}

// skipped folders hold no Go of this module's own.
func skipped(p string, d fs.DirEntry) bool {
	name := d.Name()
	return d.IsDir() && p != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || p == "bin" || p == "shared")
}

func load(root fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), pkgs: map[string]*pkg{}}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if skipped(p, d) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		b, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(t.fset, p, b, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(p)
		if t.pkgs[dir] == nil {
			t.pkgs[dir] = &pkg{dir: dir}
		}
		t.pkgs[dir].files = append(t.pkgs[dir].files, &file{
			path: p, lines: bytes.Count(b, []byte("\n")), test: strings.HasSuffix(p, "_test.go"), ast: parsed,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	return t, nil
}

// imports are the paths that a file imports.
func (f *file) imports() []string {
	var out []string
	for _, i := range f.ast.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// local is an import path of this module as a folder.
func local(importPath string) (string, bool) {
	if importPath == Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, Module+"/")
}

// match reports whether a folder is meant by a pattern of the policy.
func match(pattern, dir string) bool {
	if rest, ok := strings.CutSuffix(pattern, "/..."); ok {
		for d := dir; ; d = path.Dir(d) {
			if ok, _ := path.Match(rest, d); ok {
				return true
			}
			if d == "." || d == "/" {
				return false
			}
		}
	}
	ok, _ := path.Match(pattern, dir)
	return ok
}

func matchAny(patterns []string, dir string) bool {
	for _, p := range patterns {
		if match(p, dir) {
			return true
		}
	}
	return false
}
