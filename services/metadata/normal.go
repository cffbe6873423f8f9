package metadata

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/segue-music/segue/stream/id"
)

// Bounds of stored text in bytes. An entity stays far below the size of an event.
const (
	maxTitle   = 512
	maxName    = 256
	maxWord    = 64
	maxJoin    = 32
	maxSortKey = 120
	maxNames   = 32 // artists of one role
	maxGenres  = 16
)

// line makes text of a tag fit to keep: valid UTF-8 in normal form C, one line, without
// control characters and without those that turn the direction of text. Callers send it
// clean; this holds when one does not.
func line(s string, limit int) string {
	if isPlain(s) {
		return clip(strings.Join(strings.Fields(s), " "), limit)
	}
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == '\u200c', r == '\u200d': // joiners, which scripts and emoji need
			return r
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)
	return clip(norm.NFC.String(strings.Join(strings.Fields(s), " ")), limit)
}

// clip cuts s to limit bytes at the end of a rune.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.TrimRight(s[:limit], " ")
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// plainPunctuation is what the same name is written with by another tagger.
func plainPunctuation(r rune) rune {
	switch r {
	case '‘', '’', '‛', '′', 'ʼ', '`', '´':
		return '\''
	case '“', '”', '‟', '″':
		return '"'
	case '‐', '‑', '‒', '–', '—', '−':
		return '-'
	case '\u200c', '\u200d':
		return -1
	}
	return r
}

// fold is what two spellings of one name have in common.
func fold(s string) string {
	if isPlain(s) {
		return strings.Join(strings.Fields(strings.ToLower(strings.ReplaceAll(s, "`", "'"))), " ")
	}
	// Quotes first: NFKC takes some of them apart into a space and a mark.
	s = norm.NFKC.String(strings.Map(plainPunctuation, s))
	s = norm.NFKC.String(cases.Fold().String(s)) // folding can leave the normal form
	return strings.Join(strings.Fields(strings.Map(plainPunctuation, s)), " ")
}

// sortKey orders names the way a shelf does: without case, marks and a leading article.
func sortKey(s string) string {
	k := fold(s)
	if !isPlain(k) {
		k = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Mn, r) {
				return -1
			}
			return r
		}, norm.NFD.String(k))
	}
	if rest, ok := strings.CutPrefix(k, "the "); ok && rest != "" {
		k = rest
	}
	if bare := strings.TrimLeftFunc(k, func(r rune) bool { return unicode.IsPunct(r) || unicode.IsSpace(r) }); bare != "" {
		k = bare
	}
	return clip(k, maxSortKey)
}

// sortName is a name as printed in an index: "Beatles, The".
func sortName(s string) string {
	if len(s) > 4 && strings.EqualFold(s[:4], "the ") {
		return s[4:] + ", " + s[:3]
	}
	return s
}

// key names a claim by its parts; no two lists of parts have the same one.
func key(parts ...string) string { return id.Derive(parts...).String() }

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// mbid is a MusicBrainz id in lower case, or nothing.
func mbid(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if !uuid.MatchString(s) {
		return ""
	}
	return s
}

var isoDate = regexp.MustCompile(`^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$`)

// printedDate is YYYY, YYYY-MM or YYYY-MM-DD, or nothing; zero parts are cut off.
func printedDate(s string) string {
	s = strings.TrimSpace(s)
	s = strings.TrimSuffix(strings.TrimSuffix(s, "-00"), "-00")
	if !isoDate.MatchString(s) || strings.HasPrefix(s, "0000") {
		return ""
	}
	return s
}
