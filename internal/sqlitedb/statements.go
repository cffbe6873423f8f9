package sqlitedb

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
)

// maxStatements bounds the prepared statements that a connection keeps. The services have
// some dozens each.
const maxStatements = 128

// driverConn is what the driver's connections can do and database/sql asks them for.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// statements is a connection that keeps its prepared statements: the driver would parse the
// text of every query anew, which costs more than most of ours take to run. SQLite prepares
// a statement again by itself when the schema has changed (sqlite3_prepare_v2).
//
// Like any driver.Conn it is used by one goroutine at a time.
type statements struct {
	driverConn
	idle map[string]statement
}

// statement is what the driver's statements can do.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func newStatements(c driver.Conn) (driver.Conn, error) {
	d, ok := c.(driverConn)
	if !ok {
		return nil, errors.New("driver's connection lacks a method")
	}
	return &statements{driverConn: d, idle: map[string]statement{}}, nil
}

// keeps reports whether a text is worth keeping. Migrations are not.
func keeps(query string) bool {
	word, _, _ := strings.Cut(strings.TrimLeft(query, " \t\r\n"), " ")
	switch strings.ToUpper(word) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "SAVEPOINT", "RELEASE", "WITH":
		return true
	default:
		return false
	}
}

// take gives a statement that nobody else uses: one text may be in use twice on a
// connection, when it is run while its own rows are read.
func (c *statements) take(ctx context.Context, query string) (statement, error) {
	if s, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return s, nil
	}
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	st, ok := s.(statement)
	if !ok {
		return nil, errors.Join(errors.New("driver's statement lacks a method"), s.Close())
	}
	return st, nil
}

// put keeps a statement that ended in good order.
func (c *statements) put(query string, s statement) error {
	if _, ok := c.idle[query]; ok || len(c.idle) >= maxStatements {
		return s.Close()
	}
	c.idle[query] = s
	return nil
}

// ExecContext implements driver.ExecerContext.
func (c *statements) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !keeps(query) {
		return c.driverConn.ExecContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := s.ExecContext(ctx, args)
	if err != nil {
		_ = s.Close() // its error is the one of the run again
		return nil, err
	}
	return r, c.put(query, s)
}

// QueryContext implements driver.QueryerContext.
func (c *statements) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !keeps(query) {
		return c.driverConn.QueryContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := s.QueryContext(ctx, args)
	if err != nil {
		_ = s.Close() // its error is the one of the run again
		return nil, err
	}
	return &rows{Rows: r, c: c, query: query, s: s}, nil
}

// Close implements driver.Conn.
func (c *statements) Close() error {
	var errs []error
	for _, s := range c.idle {
		errs = append(errs, s.Close())
	}
	clear(c.idle)
	return errors.Join(append(errs, c.driverConn.Close())...)
}

// rows give their statement back when they are closed.
type rows struct {
	driver.Rows
	c     *statements
	query string
	s     statement
}

// Close implements driver.Rows.
func (r *rows) Close() error {
	if r.s == nil {
		return nil
	}
	s := r.s
	r.s = nil
	if err := r.Rows.Close(); err != nil {
		return errors.Join(err, s.Close())
	}
	return r.c.put(r.query, s)
}
