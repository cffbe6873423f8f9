package archtest

import (
	"go/ast"
	"go/token"
	"strings"
)

// globals checks that nothing in a package changes a package-level variable (rule 8):
// it may be an error, an embedded file, a compile-time assertion or a table that is
// never assigned, but it is not exported unless it is an error, since others could.
func (c *checker) globals(pk *pkg) {
	vars := map[string]*file{}
	for _, f := range pk.files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, s := range gen.Specs {
				c.declared(f, s.(*ast.ValueSpec), embeds(gen, s.(*ast.ValueSpec)), vars)
			}
		}
	}
	for _, f := range pk.files {
		if !f.test {
			c.changed(f, vars)
		}
	}
}

func embeds(gen *ast.GenDecl, s *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{gen.Doc, s.Doc} {
		if doc == nil {
			continue
		}
		for _, l := range doc.List {
			if strings.HasPrefix(l.Text, "//go:embed") {
				return true
			}
		}
	}
	return false
}

func (c *checker) declared(f *file, s *ast.ValueSpec, embedded bool, vars map[string]*file) {
	for _, n := range s.Names {
		if n.Name == "_" || embedded {
			continue
		}
		vars[n.Name] = f
		switch {
		case len(s.Values) == 0:
			c.add(8, f.path, "global %s has no value: it can only be assigned later", n.Name)
		case ast.IsExported(n.Name) && !strings.HasPrefix(n.Name, "Err"):
			c.add(8, f.path, "global %s is exported and no error: others can change it", n.Name)
		}
	}
}

// changed finds statements that assign to a global, to a part of it, or take its address.
func (c *checker) changed(f *file, vars map[string]*file) {
	report := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.StarExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			case *ast.Ident:
				if vars[x.Name] != nil && !shadowed(x) {
					c.add(8, f.path, "global %s is changed", x.Name)
				}
				return
			default:
				return
			}
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch s := n.(type) {
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				for _, l := range s.Lhs {
					report(l)
				}
			}
		case *ast.IncDecStmt:
			report(s.X)
		case *ast.UnaryExpr:
			if s.Op == token.AND {
				report(s.X)
			}
		}
		return true
	})
}

// shadowed reports a local of the same name: the parser has resolved it in its file.
func shadowed(x *ast.Ident) bool {
	if x.Obj == nil {
		return false
	}
	_, global := x.Obj.Decl.(*ast.ValueSpec)
	return !global || x.Obj.Kind != ast.Var || !isTopLevel(x.Obj)
}

// isTopLevel tells a package's variable from one that a function declares with var: only
// the first was declared by a spec that the file's scope holds.
func isTopLevel(o *ast.Object) bool { //nolint:staticcheck // one file's scopes need no types
	spec, ok := o.Decl.(*ast.ValueSpec)
	return ok && len(spec.Names) > 0 && spec.Names[0].Obj != nil && o.Data != nil
}
