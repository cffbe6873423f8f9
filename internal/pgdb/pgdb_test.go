package pgdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/segue-music/segue/internal/fault"
)

func TestConfig_Check(t *testing.T) {
	for name, tt := range map[string]struct {
		c    Config
		says string
	}{
		"none":         {Config{}, ""},
		"sound":        {Config{URL: "postgres://segue@a.example,b.example:5433/music?sslmode=verify-full", StatementTimeout: time.Second}, ""},
		"another":      {Config{URL: "mysql://a", StatementTimeout: time.Second}, "no postgres://"},
		"malformed":    {Config{URL: "postgres://a:secret@h:port/x", StatementTimeout: time.Second}, "cannot be read"},
		"password":     {Config{URL: "postgres://a:secret@h/x", StatementTimeout: time.Second}, "postgres.password.file"},
		"in_the_query": {Config{URL: "postgres://a@h/x?password=secret", StatementTimeout: time.Second}, "postgres.password.file"},
		"conns":        {Config{URL: "postgres://a@h/x", Conns: -1, StatementTimeout: time.Second}, "postgres.conns"},
		"timeout":      {Config{URL: "postgres://a@h/x"}, "statement-timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.c.Check()
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestConfig_Pool(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{URL: "postgres://a@h/x?sslmode=verify-full", PasswordFile: file, Conns: 3, StatementTimeout: 2 * time.Second}
	cfg, err := c.pool(Schema{Name: "user"})
	if err != nil {
		t.Fatal(err)
	}
	params := cfg.ConnConfig.RuntimeParams
	if cfg.ConnConfig.Password != "from the file" || cfg.MaxConns != 3 || params["search_path"] != "segue_user" ||
		params["application_name"] != "segue user" || params["statement_timeout"] != "2000" || cfg.ConnConfig.ValidateConnect == nil {
		t.Errorf("%+v, %v", cfg.ConnConfig, params)
	}
	if cfg.ConnConfig.TLSConfig == nil || cfg.ConnConfig.TLSConfig.ServerName != "h" || cfg.ConnConfig.TLSConfig.InsecureSkipVerify {
		t.Error("verify-full does not verify")
	}
	c.PasswordFile += "-none"
	if _, err := c.pool(Schema{Name: "user"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
}

func TestModule_Wanted(t *testing.T) {
	m := Module{Name: "m", Migrations: fstest.MapFS{"00001_a.sql": {}, "00012_b.sql": {}, "readme.md": {}}}
	if v, err := m.wanted(); err != nil || v != 12 {
		t.Errorf("%d, %v, want 12", v, err)
	}
	m.Migrations = fstest.MapFS{"first.sql": {}}
	if _, err := m.wanted(); err == nil {
		t.Error("a file without a number is taken")
	}
	for _, name := range []string{"", "User", `x"; --`} {
		if err := checkNames(Schema{Name: name}); err == nil {
			t.Errorf("name %q is taken", name)
		}
	}
}

func TestKind(t *testing.T) {
	own := fault.New(fault.Conflict, "changed")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		err  error
		want fault.Kind
	}{
		"none":          {t.Context(), nil, 0},
		"own":           {t.Context(), fmt.Errorf("save: %w", own), fault.Conflict},
		"disk":          {t.Context(), &pgconn.PgError{Code: codeDiskFull}, fault.Exhausted},
		"text":          {t.Context(), &pgconn.PgError{Code: codeCharacter}, fault.Invalid},
		"collision":     {t.Context(), &pgconn.PgError{Code: codeSerialization}, fault.Unavailable},
		"too_many":      {t.Context(), &pgconn.PgError{Code: "53300"}, fault.Unavailable},
		"shutdown":      {t.Context(), &pgconn.PgError{Code: "57P01", Severity: "FATAL"}, fault.Unavailable},
		"standby":       {t.Context(), &pgconn.PgError{Code: codeReadOnly}, fault.Unavailable},
		"lost":          {t.Context(), fmt.Errorf("%w: eof", errLost), fault.Unavailable},
		"ours":          {t.Context(), &pgconn.PgError{Code: "42601"}, 0},
		"closed":        {t.Context(), ErrClosed, 0},
		"callers_limit": {cancelled, fmt.Errorf("%w: eof", errLost), 0},
	} {
		t.Run(name, func(t *testing.T) {
			err := kind(tt.ctx, tt.err)
			if fault.KindOf(err) != tt.want || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%v is %v, want %v", err, fault.KindOf(err), tt.want)
			}
		})
	}
}
