package metadata

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFileName_Title(t *testing.T) {
	for name, want := range map[string]struct {
		title        string
		disc, number uint32
	}{
		"03 - Song.flac":            {"Song", 0, 3},
		"3. Song.mp3":               {"Song", 0, 3},
		"03 Song.mp3":               {"Song", 0, 3},
		"03_Song.mp3":               {"Song", 0, 3},
		"2-11 Song.mp3":             {"Song", 2, 11},
		"99 Luftballons.mp3":        {"99 Luftballons", 0, 0},
		"7.mp3":                     {"7", 0, 0},
		"1979.ogg":                  {"1979", 0, 0},
		"Mr. Blue Sky.mp3":          {"Mr. Blue Sky", 0, 0},
		"No extension. At all":      {"No extension. At all", 0, 0},
		`C:\Music\01 - Windows.mp3`: {"Windows", 0, 1},
		"a/b/../03 - Song.flac":     {"Song", 0, 3},
		".flac":                     {".flac", 0, 0},
		"":                          {"Untitled", 0, 0},
		"/":                         {"Untitled", 0, 0},
		"03 - .flac":                {"03 -", 0, 0},
		"a\u202eb\x00.mp3":          {"ab", 0, 0},
	} {
		title, disc, number := fromFileName(name)
		if title != want.title || disc != want.disc || number != want.number {
			t.Errorf("%q: %q, disc %d, number %d, want %v", name, title, disc, number, want)
		}
	}
}

func TestDisc_Split(t *testing.T) {
	for _, tt := range []struct {
		title       string
		disc, total uint32
		want        string
		number      uint32
	}{
		{"Set (Disc 2)", 0, 0, "Set", 2},
		{"Set (disc 2 of 3)", 0, 0, "Set", 2},
		{"Set [CD2]", 2, 2, "Set", 2},
		{"Set [CD 2/3]", 2, 3, "Set", 2},
		{"Set (CD 1: The Early Years)", 1, 2, "Set", 1},
		{"Set, Disc 2", 1, 1, "Set", 2},
		{"Set - CD 2", 1, 0, "Set", 2},
		{"Set: Disk 2", 0, 0, "Set", 2},
		{"Set CD 2", 2, 0, "Set", 2},
		{"Set CD 2", 0, 0, "Set CD 2", 0},
		{"Set CD 2", 1, 0, "Set CD 2", 1},
		{"Set (Disc 2)", 1, 3, "Set (Disc 2)", 1},
		{"Disc 2", 0, 0, "Disc 2", 0},
		{"(Disc 2)", 0, 0, "(Disc 2)", 0},
		{"ABCD 2", 2, 0, "ABCD 2", 2},
		{"Set (Disco 2)", 0, 0, "Set (Disco 2)", 0},
		{"Set (Deluxe Edition)", 0, 0, "Set (Deluxe Edition)", 0},
	} {
		if got, n := splitDisc(tt.title, tt.disc, tt.total); got != tt.want || n != tt.number {
			t.Errorf("%q of disc %d/%d: %q, disc %d, want %q, %d", tt.title, tt.disc, tt.total, got, n, tt.want, tt.number)
		}
	}
}

func TestNormal_SortKey(t *testing.T) {
	for in, want := range map[string]string{
		"The Beatles": "beatles", "The The": "the", "The": "the", "Édith Piaf": "edith piaf", "(What's the Story)": "what's the story)",
		"...": "...", "ÆTHER": "æther", "Theatre": "theatre", //nolint:misspell // no word, two letters in one
	} {
		if got := sortKey(in); got != want {
			t.Errorf("%q sorts as %q, want %q", in, got, want)
		}
	}
}

// FuzzNormal: text of any file is one clean line within bounds, and cleaning and folding
// are done once: again they change nothing, so that a key never depends on how often.
func FuzzNormal(f *testing.F) {
	for _, s := range []string{"", "Björk", "Guns N’ Roses", "a\u0301\u200b\u202e", "\xff\xfe", "İstanbul", "ſt ﬁ", "ŉ", strings.Repeat("ä", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := line(s, maxName)
		if len(l) > maxName || !utf8.ValidString(l) || strings.ContainsAny(l, "\n\r\x00\u202e\u2066") || l != strings.TrimSpace(l) {
			t.Errorf("%q became %q", s, l)
		}
		if again := line(l, maxName); again != l {
			t.Errorf("%q became %q, then %q", s, l, again)
		}
		k := fold(l)
		if again := fold(k); again != k {
			t.Errorf("%q folds to %q, then %q", l, k, again)
		}
		if len(sortKey(l)) > maxSortKey {
			t.Errorf("%q has a sort key of %d bytes", l, len(sortKey(l)))
		}
		title, _, _ := fromFileName(s)
		if title == "" || len(title) > maxTitle {
			t.Errorf("file %q has the title %q", s, title)
		}
	})
}

func FuzzPageToken(f *testing.F) {
	f.Add(token("albums title", &Cursor{Key: "key", ID: "0000000000000000000001"}))
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseToken("albums title", s)
		if err == nil && c != nil && token("albums title", c) != s {
			t.Errorf("%q is read as %v, which is written otherwise", s, c)
		}
	})
}
