package sqlitedb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"modernc.org/sqlite"
)

// busyTimeoutMS is how long a connection waits for a lock of another one. Within one
// process only checkpoints and recovery take such locks.
const busyTimeoutMS = 5000

// pragma is one setting with the value that SQLite must read back.
type pragma struct{ name, set, want string }

// pragmas in order: busy_timeout goes first, because setting WAL may wait for a lock.
func pragmas(readOnly bool) []pragma {
	list := []pragma{
		{"busy_timeout", fmt.Sprint(busyTimeoutMS), fmt.Sprint(busyTimeoutMS)},
		{"journal_mode", "WAL", "wal"},
		{"synchronous", "FULL", "2"},
		{"foreign_keys", "ON", "1"},
	}
	if readOnly {
		return append(list, pragma{"query_only", "ON", "1"})
	}
	// In KiB, taken as it is needed: many changes in a row touch more than the usual 2 MB.
	return append(list, pragma{"cache_size", "-16384", "-16384"})
}

func openPool(path string, readOnly bool, size int) (*sql.DB, error) {
	q := url.Values{}
	settings := pragmas(readOnly)
	for _, p := range settings {
		q.Add("_pragma", p.name+"("+p.set+")")
	}
	if !readOnly {
		// The write lock is taken at BEGIN: a deferred one can fail half-way with SQLITE_BUSY.
		q.Set("_txlock", "immediate")
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	base, err := sqlite.NewConnector(u.String())
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(checked{Connector: base, want: settings})
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool, nil
}

// checked refuses a connection whose settings do not read back as asked: an ignored
// pragma (a typo, a file system without shared memory for WAL) is silent in SQLite.
type checked struct {
	driver.Connector
	want []pragma
}

func (c checked) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range c.want {
		got, err := readPragma(ctx, conn, p.name)
		if err == nil && !strings.EqualFold(got, p.want) {
			err = fmt.Errorf("is %q, want %q", got, p.want)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("assert pragma %s: %w", p.name, err), conn.Close())
		}
	}
	kept, err := newStatements(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return kept, nil
}

func readPragma(ctx context.Context, conn driver.Conn, name string) (_ string, err error) {
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return "", errors.New("driver cannot query")
	}
	rows, err := q.QueryContext(ctx, "PRAGMA "+name, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	dest := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(dest); err != nil {
		return "", err
	}
	return fmt.Sprint(dest[0]), nil
}
