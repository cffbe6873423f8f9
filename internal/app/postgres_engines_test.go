//go:build engines

package app

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/testengine"
)

// TestPostgreSQL: who serves from a database that was not migrated stops and says what to
// do; after that the accounts are in it, for all processes.
func TestPostgreSQL(t *testing.T) {
	url := testengine.PostgreSQL(t).Database(t)
	main := func(args ...string) (code int, out string) {
		var b bytes.Buffer
		code = Main("test", append(args, "-data="+t.TempDir(), "-postgres.url="+url), nil, &b, &b)
		return code, b.String()
	}
	unmigrated := []string{"-target=user", "-public-url=http://127.0.0.1:1", "-rpc.listen=127.0.0.1:0"}
	code, out := main(unmigrated...)
	last := out[strings.LastIndex(strings.TrimRight(out, "\n"), "\n")+1:]
	if code != 1 || !strings.Contains(last, "segue_user") || !strings.Contains(last, "version 0") || !strings.Contains(last, "-target=migrate") {
		t.Fatalf("without a schema: status %d\n%s", code, out)
	}

	// Both at once, as two jobs of a deployment that was started twice.
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if code, out := main("-target=migrate"); code != 0 {
				t.Errorf("migrate: status %d\n%s", code, out)
			}
		})
	}
	both.Wait()

	// Two whole systems on one database, with a folder of secrets each: an account of one is
	// one of the other, and whoever is signed in to one is so to the other, by the keys in the
	// database.
	wrap := filepath.Join(t.TempDir(), "wrap")
	if err := os.WriteFile(wrap, []byte(strings.Repeat("5e", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startWhole(t, time.Now, "-postgres.url="+url, "-secrets.wrap.file="+wrap)
	b := startWhole(t, time.Now, "-postgres.url="+url, "-secrets.wrap.file="+wrap)
	for here, there := range map[string]string{a: b, b: a} {
		d := &device{base: here}
		if err := d.signIn(); err != nil {
			t.Errorf("sign in: %v", err)
			continue
		}
		d.base = there
		if err := d.renew(); err != nil {
			t.Errorf("go on at the other: %v", err)
		}
	}
}

func TestMigrate_NoDatabase(t *testing.T) {
	if err := migrate(t.Context(), storesConfig{}, nil); !errors.Is(err, errNothingToMigrate) {
		t.Errorf("%v", err)
	}
	c, _, err := settings(t, "-target=migrate", "-postgres.url=postgres://127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), *c, "test", io.Discard, io.Discard); err == nil || errors.Is(err, pgdb.ErrSchema) || strings.Contains(err.Error(), "\n") {
		t.Errorf("without a server: %v, want one line", err)
	}
}
