package seed

import (
	"slices"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func TestDraw(t *testing.T) {
	const n = 20_000
	all := draw(n, 1)
	ids, artists, scripts := map[string]bool{}, map[string]int{}, map[string]bool{}
	next := 0
	for _, r := range all {
		if r.First != next {
			t.Fatalf("%q begins at %d, not at %d", r.Title, r.First, next)
		}
		next += len(r.Tracks)
		artists[r.Artist] += len(r.Tracks)
		for _, s := range r.Tracks {
			ids[s.ID] = true
			for _, c := range s.Title {
				for name, table := range map[string]*unicode.RangeTable{
					"han": unicode.Han, "cyrillic": unicode.Cyrillic, "greek": unicode.Greek, "arabic": unicode.Arabic,
					"hangul": unicode.Hangul, "devanagari": unicode.Devanagari, "latin": unicode.Latin,
				} {
					if unicode.Is(table, c) {
						scripts[name] = true
					}
				}
			}
		}
	}
	if next != n || len(ids) != n {
		t.Errorf("%d tracks with %d ids", next, len(ids))
	}
	if len(scripts) != 7 {
		t.Errorf("scripts: %v", scripts)
	}
	var sizes []int
	for _, size := range artists {
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	if least, most := sizes[len(sizes)/2], sizes[len(sizes)-1]; most < 20*least {
		t.Errorf("the median artist has %d tracks, the most prolific %d", least, most)
	}
	if d := cmp.Diff(all, draw(n, 1), cmp.AllowUnexported(release{}, song{})); d != "" {
		t.Errorf("the same seed gives another catalogue: %.500s", d)
	}
	if draw(n, 2)[0].Tracks[0].ID == all[0].Tracks[0].ID {
		t.Error("another seed gives the same catalogue")
	}
}
