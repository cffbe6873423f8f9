package testengine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Postgres is a running PostgreSQL server.
type Postgres struct {
	bin, dir, port string
	settings       []string
	process        *process
	databases      int
}

// PostgreSQL starts a server that ends with the test. The tests of one package share one,
// each with a database of its own. It writes to its disk when it likes, which is quick;
// a test of crashes wants [DurablePostgreSQL].
func PostgreSQL(tb Host) *Postgres {
	tb.Helper()
	return startPostgres(tb, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
}

// DurablePostgreSQL starts a server that has a change on the disk before it says so.
func DurablePostgreSQL(tb Host) *Postgres {
	tb.Helper()
	return startPostgres(tb, "fsync=on", "synchronous_commit=on", "full_page_writes=on")
}

func startPostgres(tb Host, settings ...string) *Postgres {
	tb.Helper()
	// The folder of engines and the test's own are for the user of the test only.
	bin, err := filepath.EvalSymlinks(locate(tb, "postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	pg := &Postgres{bin: bin, settings: settings}
	dir, err := os.MkdirTemp("", "segue-postgresql-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	pg.dir = dir
	if err := pg.own(); err != nil {
		tb.Fatalf("give the server its folder: %v", err)
	}
	pg.process = start(tb, 1, func(ports []string) (*process, error) {
		pg.port = ports[0]
		if err := pg.format(tb.Context()); err != nil {
			return nil, fmt.Errorf("format the server's folder: %w", err)
		}
		return pg.run(tb.Context())
	})
	tb.Cleanup(func() {
		pg.Crash()
		if tb.Failed() {
			tb.Log(pg.process)
		}
	})
	return pg
}

// nobody is who runs the server where the test is root, which it refuses to be.
const nobody = "nobody"

// own gives the folder to whom the server runs as.
func (pg *Postgres) own() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup(nobody)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	return os.Chown(pg.dir, uid, -1)
}

// launch starts a program of the server as a user who is not root. The kernel forgets at
// the change of user that it should die with the test, so setpriv tells it again.
func (pg *Postgres) launch(ready, program string, args ...string) (*process, error) {
	path := filepath.Join(pg.bin, program)
	if os.Getuid() == 0 {
		args = append([]string{"--reuid=" + nobody, "--regid=nogroup", "--clear-groups", "--pdeathsig=KILL", path}, args...)
		path = "setpriv"
	}
	return launch(program, pg.dir, ready, environment("LC_ALL=C", "PGTZ=UTC"), path, args...)
}

func (pg *Postgres) data() string { return filepath.Join(pg.dir, "data") }

// format makes the server's folder anew.
func (pg *Postgres) format(ctx context.Context) error {
	if err := os.RemoveAll(pg.data()); err != nil {
		return err
	}
	p, err := pg.launch("", "initdb", "-D", pg.data(), "-U", superuser, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	case <-p.done:
	}
	if p.err != nil {
		return fmt.Errorf("%w: %s", p.err, p)
	}
	return nil
}

// superuser is the server's only role.
const superuser = "segue"

// run starts the formatted server.
func (pg *Postgres) run(ctx context.Context) (*process, error) {
	args := []string{"-D", pg.data(), "-p", pg.port}
	for _, s := range append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=64MB", "max_connections=200", "logging_collector=off",
	}, pg.settings...) {
		args = append(args, "-c", s)
	}
	p, err := pg.launch("database system is ready to accept connections", "postgres", args...)
	if err != nil {
		return nil, err
	}
	return p, p.wait(ctx, p.log.ready)
}

// Crash ends the server and all its processes at once, with no time to tidy up: what it
// has to do at its next start is what it has to do after a power cut.
func (pg *Postgres) Crash() {
	// Not SIGKILL: the server's children outlive it for a moment, and a new server refuses
	// to start beside them.
	_ = pg.process.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-pg.process.done:
	case <-time.After(patience):
		pg.process.kill()
	}
}

// Restart starts a server that has crashed, at its old address and with its data, and
// returns when it takes connections.
func (pg *Postgres) Restart(ctx context.Context) error {
	p, err := pg.run(ctx)
	if p != nil {
		pg.process = p
	}
	if err != nil {
		return fmt.Errorf("restart: %w\n%s", err, p)
	}
	return nil
}

// Database makes an empty database and returns its URL.
func (pg *Postgres) Database(tb Host) string {
	tb.Helper()
	pg.databases++
	name := fmt.Sprintf("test%d", pg.databases)
	cmd := exec.CommandContext(tb.Context(), filepath.Join(pg.bin, "createdb"), "-h", "127.0.0.1", "-p", pg.port, "-U", superuser, name)
	cmd.Env = environment("LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("make a database: %v\n%s", err, out)
	}
	return "postgres://" + superuser + "@127.0.0.1:" + pg.port + "/" + name + "?sslmode=disable"
}
