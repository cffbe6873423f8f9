package cassandradb

import (
	"context"
	"errors"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// Statement is one of a conditional batch.
type Statement struct {
	CQL  string
	Args []any
}

// Exec makes a plain write. It may be done twice, so it is one that may be: an insert of
// a row that is always the same, or a delete at the time at which what goes was written.
func (db *DB) Exec(ctx context.Context, cql string, args ...any) error {
	return db.do(ctx, kindWrite, func(ctx context.Context) error {
		return db.session.Query(cql, args...).Idempotent(true).ExecContext(ctx)
	})
}

// ExecAll makes plain writes of one partition together, each one that [DB.Exec] may make.
func (db *DB) ExecAll(ctx context.Context, list []Statement) error {
	return db.do(ctx, kindWrite, func(ctx context.Context) error {
		if len(list) == 0 {
			return errNoStatement
		}
		b := db.session.Batch(gocql.UnloggedBatch)
		for _, s := range list {
			b.Entries = append(b.Entries, gocql.BatchEntry{Stmt: s.CQL, Args: s.Args, Idempotent: true})
		}
		return b.ExecContext(ctx)
	})
}

// Get reads one row into dest; false where there is none.
func (db *DB) Get(ctx context.Context, cql string, args []any, dest ...any) (found bool, err error) {
	err = db.do(ctx, kindRead, func(ctx context.Context) error {
		found, err = scan(ctx, db.hedged(db.session.Query(cql, args...)), dest)
		return err
	})
	return found, err
}

// GetSerial is Get for what conditional writes decide: one under way is finished first,
// or can never be.
func (db *DB) GetSerial(ctx context.Context, cql string, args []any, dest ...any) (found bool, err error) {
	err = db.do(ctx, kindSerial, func(ctx context.Context) error {
		found, err = scan(ctx, db.session.Query(cql, args...).Consistency(gocql.LocalSerial), dest)
		return err
	})
	return found, err
}

func scan(ctx context.Context, q *gocql.Query, dest []any) (bool, error) {
	err := q.Idempotent(true).ScanContext(ctx, dest...)
	if errors.Is(err, gocql.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// pageRows is how many rows come at a time.
const pageRows = 500

// Each reads rows, calling row with each in dest until it returns false or an error.
func (db *DB) Each(ctx context.Context, cql string, args []any, dest []any, row func() (more bool, err error)) error {
	return db.do(ctx, kindRead, func(ctx context.Context) error {
		it := db.hedged(db.session.Query(cql, args...)).Idempotent(true).PageSize(pageRows).IterContext(ctx)
		for it.Scan(dest...) {
			if more, err := row(); err != nil || !more {
				return errors.Join(err, it.Close())
			}
		}
		return it.Close()
	})
}

// conditional makes statements of one partition, at least one with a condition, all or
// none: applied says which. An error leaves it open.
func (db *DB) conditional(ctx context.Context, list []Statement) (applied bool, err error) {
	err = db.do(ctx, kindCondition, func(ctx context.Context) error {
		if len(list) == 0 {
			return errNoStatement
		}
		// What is refused tells the row as it is, which nobody here looks at.
		row := map[string]any{}
		if len(list) == 1 {
			applied, err = db.session.Query(list[0].CQL, list[0].Args...).MapScanCASContext(ctx, row)
			return err
		}
		b := db.session.Batch(gocql.UnloggedBatch) // of one partition, so it is atomic
		for _, s := range list {
			b.Query(s.CQL, s.Args...)
		}
		var rest *gocql.Iter
		if applied, rest, err = b.MapExecCASContext(ctx, row); err != nil {
			return err
		}
		return rest.Close()
	})
	if err != nil {
		return false, err
	}
	if !applied {
		db.meters.refused.Inc()
	}
	return applied, nil
}
