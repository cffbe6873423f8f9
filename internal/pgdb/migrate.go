package pgdb

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Migrate brings the schema forward to what this program works with, and makes it where
// there is none. Several may run at once: one works, the others wait and find it done. A
// schema of a newer program is [ErrSchema] and stays as it is.
func Migrate(ctx context.Context, c Config, s Schema, log *slog.Logger) (err error) {
	cfg, err := c.conn(s)
	if err != nil {
		return err
	}
	if err := checkNames(s); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return fmt.Errorf("migrate PostgreSQL at %s: %w", where(cfg.ConnConfig), lineError{err})
	}
	// The lock goes with the connection.
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1, $2)", LockMigration, LockKey(s.name())); err != nil {
		return fmt.Errorf("migrate %s: wait for another: %w", s.name(), err)
	}
	if _, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+s.name()); err != nil {
		return fmt.Errorf("migrate %s: %w", s.name(), err)
	}
	for _, m := range s.Modules {
		if err := up(ctx, cfg.ConnConfig, m, log); err != nil {
			return fmt.Errorf("migrate %s, module %s: %w", s.name(), m.Name, err)
		}
	}
	return nil
}

func up(ctx context.Context, cc *pgx.ConnConfig, m Module, log *slog.Logger) (err error) {
	db := stdlib.OpenDB(*cc)
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := goose.NewProvider(goose.DialectPostgres, db, m.Migrations,
		goose.WithTableName(m.table()), goose.WithDisableGlobalRegistry(true), goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > target {
		return fmt.Errorf("%w: version %d, known up to %d", ErrSchema, current, target)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate up: %w", err)
	}
	for _, r := range done {
		log.InfoContext(ctx, "migrated", "module", m.Name, "version", r.Source.Version, "took", r.Duration)
	}
	return nil
}

func (m Module) table() string { return "goose_" + m.Name }

// wanted is the version of a module that this program works with: that of its last file.
func (m Module) wanted() (last int64, err error) {
	files, err := fs.Glob(m.Migrations, "*.sql")
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		v, err := goose.NumericComponent(name)
		if err != nil {
			return 0, fmt.Errorf("read migrations: %s: %w", name, err)
		}
		last = max(last, v)
	}
	return last, nil
}

// checkVersions refuses, with [ErrSchema], a schema that this program does not work with.
func checkVersions(ctx context.Context, conn *pgx.Conn, s Schema) error {
	if err := checkNames(s); err != nil {
		return err
	}
	for _, m := range s.Modules {
		want, err := m.wanted()
		if err != nil {
			return err
		}
		found, err := version(ctx, conn, m)
		if err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		hint := "run segue -target=migrate"
		if found > want {
			hint = "run the program that made it, or a newer one"
		}
		if found != want {
			return fmt.Errorf("%w: %s.%s has version %d, this program works with %d: %s", ErrSchema, s.name(), m.Name, found, want, hint)
		}
	}
	return nil
}

// version is that of a module in the database, 0 where it was never migrated.
func version(ctx context.Context, conn *pgx.Conn, m Module) (v int64, err error) {
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", m.table()).Scan(&there); err != nil || !there {
		return 0, err
	}
	err = conn.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+m.table()+" WHERE is_applied").Scan(&v)
	return v, err
}

// checkNames refuses a name that would have to be quoted.
func checkNames(s Schema) error {
	names := []string{s.Name}
	for _, m := range s.Modules {
		names = append(names, m.Name)
	}
	for _, n := range names {
		if n == "" || strings.Trim(n, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return fmt.Errorf("schema or module name %q is not lower-case letters", n)
		}
	}
	return nil
}

// Advisory locks have two numbers; the first says what for.
const (
	LockMigration int32 = 0x5e60_0001 + iota
	LockOutbox
	LockAdmins
	LockQuota
)

// LockKey is the second number of an advisory lock.
func LockKey(name string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return int32(h.Sum32())
}
