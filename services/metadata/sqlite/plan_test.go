package sqlite

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segue-music/segue/services/metadata"
)

// TestList_ByIndex: no list sorts, and none reads a table from end to end.
func TestList_ByIndex(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	f, err := newFilter(metadata.Viewer{UserID: "u", Classes: []int64{1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		table, column, index string
		number               bool
		owner                bool
	}{
		{"track", "added", "track_added", true, false},
		{"track", "added", "track_owner_added", true, true},
		{"track", "sort_title", "track_title", false, false},
		{"album", "added", "album_added", true, false},
		{"album", "date", "album_date", false, false},
		{"album", "sort_title", "album_title", false, false},
		{"album", "sort_artist", "album_artist", false, false},
		{"artist", "sort_name", "artist_name", false, false},
	} {
		t.Run(tt.index, func(t *testing.T) {
			cond, args, by, err := order{column: tt.column, number: tt.number}.after(&metadata.Cursor{Key: "1", ID: "x"})
			if err != nil {
				t.Fatal(err)
			}
			where, whereArgs := f.row("e")
			if tt.table != "track" {
				where, whereArgs = f.group(tt.table, "e.id")
				where = "e.live AND " + where
			}
			if tt.owner {
				where, whereArgs = where+" AND e.owner_id = ?", join(whereArgs, "u")
			}
			rows, err := s.db.Reader().QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+listQuery(tt.table, tt.column, cond, where, by), join(args, whereArgs, 10)...)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			var plan []string
			for rows.Next() {
				var a, b, c int
				var text string
				if err := rows.Scan(&a, &b, &c, &text); err != nil {
					t.Fatal(err)
				}
				plan = append(plan, text)
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			all := strings.Join(plan, "\n")
			if !strings.Contains(all, "SEARCH e USING INDEX "+tt.index+" ") || strings.Contains(all, "TEMP B-TREE FOR ORDER") {
				t.Errorf("the plan is\n%s", all)
			}
		})
	}
}

// TestOpen_Again: what was stored is there, and opening does nothing heavy.
func TestOpen_Again(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metadata.db")
	for i := range 2 {
		s, err := Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		mark := metadata.Mark{Kind: metadata.KindAlbum, ID: "x", Due: time.UnixMilli(1).UTC()}
		marks, err := s.Marks(t.Context(), time.UnixMilli(2), 5)
		if err != nil || len(marks) != i {
			t.Errorf("open %d: %v, %v", i, marks, err)
		}
		if before := s.db.Stats().Commits; i == 1 && before != 0 {
			t.Errorf("opening again wrote %d times", before)
		}
		if err := s.Change(t.Context(), func(context.Context, metadata.View) (*metadata.Change, error) {
			return &metadata.Change{Marks: []metadata.Mark{mark}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
