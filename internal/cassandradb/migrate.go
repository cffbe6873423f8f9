package cassandradb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/google/uuid"

	"github.com/segue-music/segue/internal/pause"
)

// Module is a set of migrations with versions of its own, so that shared tables (an
// outbox) and a service's own are numbered apart.
type Module struct {
	// Name is lower-case letters and underscores.
	Name string
	// Migrations holds CQL files (00001_name.cql) at its root. Each statement ends in ";" at
	// the end of a line. A run that was cut off is repeated from the file's beginning, so
	// each is one that may be (IF NOT EXISTS).
	Migrations fs.FS
}

// Schema is the tables of one service.
type Schema struct {
	// Name is lower-case letters and underscores; the keyspace ends in _<name>.
	Name string
	// Modules in the order in which they are migrated.
	Modules []Module
}

func (s Schema) check() error {
	names := []string{s.Name}
	for _, m := range s.Modules {
		names = append(names, m.Name)
	}
	for _, n := range names {
		if !plain(n) {
			return fmt.Errorf("schema or module name %q is not lower-case letters", n)
		}
	}
	return nil
}

// leaseSeconds is when the lease of a migration that died may be taken; a statement that
// changes the schema takes seconds.
const leaseSeconds = 120

// Migrate brings the keyspace forward to what this program works with, and makes it where
// there is none. Several may run at once: one works, the others wait and find it done. A
// schema of a newer program is [ErrSchema] and stays as it is.
func Migrate(ctx context.Context, c Config, s Schema, log *slog.Logger) error {
	if err := s.check(); err != nil {
		return err
	}
	keyspace := c.Keyspace + "_" + s.Name
	replication, err := c.replication()
	if err != nil {
		return err
	}
	if err := prepare(ctx, c, keyspace, replication, log); err != nil {
		return fmt.Errorf("migrate %s: %w", keyspace, err)
	}
	session, err := connect(c, keyspace, log)
	if err != nil {
		return err
	}
	defer session.Close()
	m := &migration{session: session, log: log, holder: uuid.NewString()}
	if err := m.lock(ctx); err != nil {
		return fmt.Errorf("migrate %s: wait for another: %w", keyspace, err)
	}
	defer m.unlock(context.WithoutCancel(ctx))
	for _, module := range s.Modules {
		if err := m.up(ctx, module); err != nil {
			return fmt.Errorf("migrate %s, module %s: %w", keyspace, module.Name, err)
		}
	}
	return nil
}

// prepare makes the keyspace and the two tables that migrations need themselves. Two nodes
// that are asked at once would each make a table of their own and then quarrel: with an id
// that both know it is the same one.
func prepare(ctx context.Context, c Config, keyspace, replication string, log *slog.Logger) error {
	session, err := connect(c, "", log)
	if err != nil {
		return err
	}
	defer session.Close()
	id := func(table string) string {
		return uuid.NewSHA1(uuid.NameSpaceURL, []byte("segue:"+keyspace+"."+table)).String()
	}
	for _, cql := range []string{
		"CREATE KEYSPACE IF NOT EXISTS " + keyspace + " WITH replication = " + replication,
		// Bound: the files of a module.
		"CREATE TABLE IF NOT EXISTS " + keyspace + ".schema_migrations (module text, version int, name text, at timestamp, PRIMARY KEY (module, version)) WITH id = " + id("schema_migrations"),
		// Bound: one row.
		"CREATE TABLE IF NOT EXISTS " + keyspace + ".schema_lease (name text PRIMARY KEY, holder text) WITH id = " + id("schema_lease"),
	} {
		if err := change(ctx, session, cql); err != nil {
			return err
		}
	}
	return nil
}

// change does one statement of the schema and waits until all nodes know it.
func change(ctx context.Context, session *gocql.Session, cql string) error {
	if err := session.Query(cql).ExecContext(ctx); err != nil {
		return err
	}
	return session.AwaitSchemaAgreement(ctx)
}

type migration struct {
	session *gocql.Session
	log     *slog.Logger
	holder  string
}

// lock takes the lease, waiting for whoever has it.
func (m *migration) lock(ctx context.Context) error {
	for told := false; ; told = true {
		now := map[string]any{}
		got, err := m.session.Query(fmt.Sprintf(`INSERT INTO schema_lease (name, holder) VALUES ('migrate', ?) IF NOT EXISTS USING TTL %d`, leaseSeconds),
			m.holder).MapScanCASContext(ctx, now)
		if err == nil && (got || now["holder"] == m.holder) { // our own try that was not answered
			return nil
		}
		if err != nil && mistake(err) {
			return err
		}
		if !told {
			m.log.InfoContext(ctx, "another process migrates, waiting", "err", err)
		}
		if !pause.About(ctx, time.Second) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// renew keeps the lease; an error where it is another's by now.
func (m *migration) renew(ctx context.Context) error {
	now := map[string]any{}
	kept, err := m.session.Query(fmt.Sprintf(`UPDATE schema_lease USING TTL %d SET holder = ? WHERE name = 'migrate' IF holder = ?`, leaseSeconds),
		m.holder, m.holder).MapScanCASContext(ctx, now)
	if err == nil && !kept {
		err = errors.New("another process took over")
	}
	return err
}

func (m *migration) unlock(ctx context.Context) {
	now := map[string]any{}
	_, err := m.session.Query(`DELETE FROM schema_lease WHERE name = 'migrate' IF holder = ?`, m.holder).MapScanCASContext(ctx, now)
	if err != nil {
		m.log.WarnContext(ctx, "lease of the migration ends by itself", "seconds", leaseSeconds, "err", err)
	}
}

func (m *migration) up(ctx context.Context, module Module) error {
	list, err := module.files()
	if err != nil {
		return err
	}
	found, err := version(ctx, m.session, module.Name)
	if err != nil {
		return err
	}
	if want := last(list); found > want {
		return fmt.Errorf("%w: version %d, known up to %d", ErrSchema, found, want)
	}
	for _, f := range list {
		if f.version <= found {
			continue
		}
		began := time.Now()
		for _, cql := range f.statements {
			if err := m.renew(ctx); err != nil {
				return fmt.Errorf("keep the lease: %w", err)
			}
			if err := change(ctx, m.session, cql); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
		err := m.session.Query(`INSERT INTO schema_migrations (module, version, name, at) VALUES (?, ?, ?, toTimestamp(now()))`,
			module.Name, f.version, f.name).Consistency(gocql.LocalQuorum).ExecContext(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		m.log.InfoContext(ctx, "migrated", "module", module.Name, "version", f.version, "took", time.Since(began))
	}
	return nil
}

// file is one migration.
type file struct {
	version    int
	name       string
	statements []string
}

// files of a module, rising by version.
func (m Module) files() (list []file, err error) {
	names, err := fs.Glob(m.Migrations, "*.cql")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		v, err := strconv.Atoi(number)
		if err != nil || v < 1 {
			return nil, fmt.Errorf("read migrations: %s has no number", name)
		}
		text, err := fs.ReadFile(m.Migrations, name)
		if err != nil {
			return nil, err
		}
		f := file{version: v, name: name}
		for part := range strings.SplitSeq(string(text)+"\n", ";\n") {
			if cql := uncommented(part); cql != "" {
				f.statements = append(f.statements, cql)
			}
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b file) int { return a.version - b.version })
	return list, nil
}

// uncommented is a statement without its lines of comment.
func uncommented(cql string) string {
	lines := strings.Split(cql, "\n")
	return strings.TrimSpace(strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), "--") }), "\n"))
}

func last(list []file) int {
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].version
}

// version is that of a module in the keyspace, 0 where it was never migrated.
func version(ctx context.Context, session *gocql.Session, module string) (v int, err error) {
	err = session.Query(`SELECT version FROM schema_migrations WHERE module = ? ORDER BY version DESC LIMIT 1`, module).
		Consistency(gocql.LocalQuorum).Idempotent(true).ScanContext(ctx, &v)
	if errors.Is(err, gocql.ErrNotFound) {
		err = nil
	}
	return v, err
}

// checkVersions refuses, with [ErrSchema], a keyspace that this program does not work with.
func (db *DB) checkVersions(ctx context.Context, keyspace string, s Schema) error {
	for _, m := range s.Modules {
		list, err := m.files()
		if err != nil {
			return err
		}
		want := last(list)
		found, err := version(ctx, db.session, m.Name)
		if err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		hint := "run segue -target=migrate"
		if found > want {
			hint = "run the program that made it, or a newer one"
		}
		if found != want {
			return fmt.Errorf("%w: %s.%s has version %d, this program works with %d: %s", ErrSchema, keyspace, m.Name, found, want, hint)
		}
	}
	return nil
}
