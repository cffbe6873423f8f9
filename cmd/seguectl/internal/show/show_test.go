package show

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable_Columns(t *testing.T) {
	for name, tc := range map[string]struct {
		rows [][]string
		want []string
	}{
		"empty": {nil, []string{"ID  TITLE"}},
		"aligned": {
			[][]string{{"1", "one"}, {"1234", "two"}},
			[]string{"ID    TITLE", "1     one", "1234  two"},
		},
		"wide characters take two columns": {
			[][]string{{"音楽", "x"}, {"a", "y"}},
			[]string{"ID    TITLE", "音楽  x", "a     y"},
		},
		"a short row and one that is too long": {
			[][]string{{"1"}, {"2", "x", "lost"}},
			[]string{"ID  TITLE", "1", "2   x"},
		},
		"no escape sequence, no second line": {
			[][]string{{"1", "a\x1b[31mred\nnext\u202eback"}},
			[]string{"ID  TITLE", "1   a [31mred next back"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := Table(&b, []string{"ID", "TITLE"}, tc.rows); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(strings.Join(tc.want, "\n")+"\n", b.String()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	for ms, want := range map[uint64]string{0: "0:00", 999: "0:00", 61_000: "1:01", 3_723_000: "1:02:03"} {
		if got := Duration(ms); got != want {
			t.Errorf("Duration(%d) = %q, want %q", ms, got, want)
		}
	}
}

func TestBar_Pipe(t *testing.T) {
	var b strings.Builder
	bar := NewCount(&b, "ingest", 3)
	bar.Set(1, 3)
	bar.Describe("1 of 3")
	bar.Describe("1 of 3")
	bar.Line("failed: %s", "x\ty")
	bar.Close()
	if d := cmp.Diff("1 of 3\nfailed: x y\n", b.String()); d != "" {
		t.Error(d)
	}
}
