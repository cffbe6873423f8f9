package sqlitedb

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"modernc.org/sqlite"
)

func TestChecked_Refuses(t *testing.T) {
	for _, p := range pragmas(true) {
		t.Run(p.name, func(t *testing.T) {
			// A connection on which nothing was set.
			base, err := sqlite.NewConnector("file:" + filepath.Join(t.TempDir(), "a.db"))
			if err != nil {
				t.Fatal(err)
			}
			want := p
			if p.name == "synchronous" {
				want.want = "1" // FULL is SQLite's own default
			}
			db := sql.OpenDB(checked{Connector: base, want: []pragma{want}})
			defer db.Close()
			if err := db.PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), p.name) {
				t.Errorf("connection without %s: %v", p.name, err)
			}
		})
	}
}
