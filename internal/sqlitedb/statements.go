package sqlitedb

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
)

// maxStatements bounds the prepared statements of one connection. Services have about
// fifty texts each; lists of placeholders make more of them.
const maxStatements = 128

// sqliteConn is what database/sql uses of the driver's connection.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// preparedStmt is what this package uses of the driver's statements.
type preparedStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// statements is a connection that keeps its statements prepared: parsing and planning a
// text takes longer than running it. SQLite prepares a kept one again by itself when the
// schema has changed. database/sql uses a connection from one goroutine at a time.
type statements struct {
	sqliteConn
	// idle are those not in use, by their text; ages are their texts, the longest unused
	// first.
	idle map[string]preparedStmt
	ages []string
}

func newStatements(conn driver.Conn) (driver.Conn, error) {
	c, ok := conn.(sqliteConn)
	if !ok {
		return nil, errors.New("driver's connection lacks a method")
	}
	return &statements{sqliteConn: c, idle: map[string]preparedStmt{}}, nil
}

// kept tells the statements that recur: not those of a migration.
func kept(query string) bool {
	word, _, _ := strings.Cut(strings.TrimLeft(query, " \t\r\n"), " ")
	switch word {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "SAVEPOINT", "RELEASE", "ROLLBACK":
		return !strings.Contains(query, ";")
	}
	return false
}

// take gives a statement to one use; put gives it back.
func (c *statements) take(ctx context.Context, query string) (preparedStmt, error) {
	if s := c.idle[query]; s != nil {
		delete(c.idle, query)
		c.forget(query)
		return s, nil
	}
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p, ok := s.(preparedStmt)
	if !ok {
		return nil, errors.Join(errors.New("driver's statement lacks a method"), s.Close())
	}
	return p, nil
}

func (c *statements) put(query string, s preparedStmt) error {
	if c.idle[query] != nil {
		return s.Close() // two were in use at a time
	}
	c.idle[query] = s
	c.ages = append(c.ages, query)
	if len(c.ages) <= maxStatements {
		return nil
	}
	oldest := c.ages[0]
	c.forget(oldest)
	old := c.idle[oldest]
	delete(c.idle, oldest)
	return old.Close()
}

func (c *statements) forget(query string) {
	for i := len(c.ages) - 1; i >= 0; i-- {
		if c.ages[i] == query {
			c.ages = append(c.ages[:i], c.ages[i+1:]...)
			return
		}
	}
}

// ExecContext implements driver.ExecerContext.
func (c *statements) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !kept(query) {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	res, err := s.ExecContext(ctx, args)
	if err != nil {
		_ = s.Close() // it repeats the error of the statement
		return nil, err
	}
	return res, c.put(query, s)
}

// QueryContext implements driver.QueryerContext.
func (c *statements) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !kept(query) {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		_ = s.Close() // it repeats the error of the statement
		return nil, err
	}
	return &keptRows{Rows: rows, conn: c, query: query, stmt: s}, nil
}

// Close implements driver.Conn.
func (c *statements) Close() error {
	var errs error
	for _, s := range c.idle {
		errs = errors.Join(errs, s.Close())
	}
	c.idle, c.ages = nil, nil
	return errors.Join(errs, c.sqliteConn.Close())
}

// keptRows gives its statement back at its end.
type keptRows struct {
	driver.Rows
	conn  *statements
	query string
	stmt  preparedStmt
}

// Close implements driver.Rows.
func (r *keptRows) Close() error {
	s := r.stmt
	if s == nil {
		return nil
	}
	r.stmt = nil
	if err := r.Rows.Close(); err != nil {
		_ = s.Close() // it repeats the error of the statement
		return err
	}
	if r.conn.idle == nil {
		return s.Close() // the connection has been closed meanwhile
	}
	return r.conn.put(r.query, s)
}
