package pgdb

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/segue-music/segue/internal/credfile"
)

// Config is how to reach a database.
type Config struct {
	// URL without a password: postgres://user@host:5432/name?sslmode=verify-full.
	URL          string
	PasswordFile string
	// Conns bounds the connections of each service in this process; 0 is ten, or twice
	// GOMAXPROCS where that is more.
	Conns int
	// StatementTimeout is when the server gives up on one statement.
	StatementTimeout time.Duration
}

// RegisterFlags adds the settings under prefix.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.URL, prefix+".url", "", "PostgreSQL for accounts and uploads: postgres://user@host:5432/name?sslmode=verify-full; empty keeps them in the data folder")
	fs.StringVar(&c.PasswordFile, prefix+".password.file", "", "file with the password of postgres.url's user; empty is a client certificate, a .pgpass or none")
	fs.IntVar(&c.Conns, prefix+".conns", 0, "most connections of each service to PostgreSQL; 0 is ten, or twice the processors where that is more")
	fs.DurationVar(&c.StatementTimeout, prefix+".statement-timeout", 10*time.Second, "when PostgreSQL gives up on a statement")
}

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	if c.URL == "" {
		return nil
	}
	if !strings.HasPrefix(c.URL, "postgres://") && !strings.HasPrefix(c.URL, "postgresql://") {
		return errors.New("postgres.url is no postgres:// URL")
	}
	cfg, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return errors.New("postgres.url cannot be read") // the driver's error may repeat a password
	}
	// What prints settings and lists processes would show it.
	if cfg.Password != "" && strings.Contains(c.URL, cfg.Password) {
		return errors.New("postgres.url holds a password: it belongs into the file of postgres.password.file")
	}
	if c.Conns < 0 || c.Conns > 10_000 {
		return errors.New("postgres.conns is not within 0 and 10000")
	}
	if c.StatementTimeout < 100*time.Millisecond {
		return errors.New("postgres.statement-timeout is under 100 ms")
	}
	return nil
}

const (
	connectTimeout = 5 * time.Second
	// abandoned is when the server ends a transaction whose owner does nothing with it: an
	// owner that hangs, or that is gone without the server having heard of it.
	abandoned = time.Minute
)

// conn is the configuration of one connection to a schema.
func (c Config) conn(s Schema) (*pgxpool.Config, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read postgres.url: %w", err)
	}
	cc := cfg.ConnConfig
	if c.PasswordFile != "" {
		if cc.Password, err = credfile.Password(c.PasswordFile); err != nil {
			return nil, fmt.Errorf("read the password for PostgreSQL: %w", err)
		}
	}
	cc.ConnectTimeout = connectTimeout
	cc.RuntimeParams["application_name"] = "segue " + s.Name
	cc.RuntimeParams["search_path"] = s.name()
	cc.RuntimeParams["timezone"] = "UTC"
	if cc.ValidateConnect == nil {
		// Of several hosts the one that takes writes, also after a failover: a read elsewhere
		// would not see what was acknowledged before it.
		cc.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return cfg, nil
}

// pool is the configuration of a pool of connections for serving.
func (c Config) pool(s Schema) (*pgxpool.Config, error) {
	cfg, err := c.conn(s)
	if err != nil {
		return nil, err
	}
	params := cfg.ConnConfig.RuntimeParams
	params["statement_timeout"] = millis(c.StatementTimeout)
	params["idle_in_transaction_session_timeout"] = millis(abandoned)
	cfg.MaxConns = int32(c.Conns)
	if c.Conns == 0 {
		cfg.MaxConns = int32(max(10, 2*runtime.GOMAXPROCS(0)))
	}
	cfg.MaxConnIdleTime, cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = 5*time.Minute, time.Hour, 10*time.Minute
	cfg.HealthCheckPeriod, cfg.PingTimeout = 10*time.Second, connectTimeout
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		var began string
		if err := conn.QueryRow(ctx, serverStart).Scan(&began); err != nil {
			return err
		}
		conn.PgConn().CustomData()[startKey] = began
		return nil
	}
	return cfg, nil
}

// serverStart names one life of the server, from a start to the crash that ends it.
const (
	serverStart = "SELECT pg_postmaster_start_time()::text"
	startKey    = "segue.server_start"
)

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
