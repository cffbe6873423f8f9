package sqlitedb

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
)

func migrate(ctx context.Context, db *sql.DB, opt Options) error {
	// Without a migration nothing else would touch the file before the readers do.
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	for _, m := range opt.Modules {
		if m.Name == "" || strings.Trim(m.Name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return fmt.Errorf("module name %q is not lower-case letters", m.Name)
		}
		if err := migrateSet(ctx, db, "goose_"+m.Name, m.Migrations, opt); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	if opt.Migrations == nil {
		return nil
	}
	return migrateSet(ctx, db, "goose_db_version", opt.Migrations, opt)
}

func migrateSet(ctx context.Context, db *sql.DB, table string, files fs.FS, opt Options) error {
	// A *goose.Provider would close db with itself, so it is dropped, not closed.
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files,
		goose.WithTableName(table), goose.WithDisableGlobalRegistry(true), goose.WithSlog(opt.Log))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > target {
		return fmt.Errorf("%w: version %d, known up to %d", ErrNewerSchema, current, target)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate up: %w", err)
	}
	return nil
}
