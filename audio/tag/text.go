package tag

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of what is kept, in bytes of UTF-8 and in values.
const (
	maxLine   = 1000
	maxText   = 8 << 10
	maxLyrics = 64 << 10
	maxValues = 64
)

// line cleans a tag for one line.
func line(s string) string { return clean(s, maxLine, false) }

// clean forces s to valid UTF-8 without control, direction and other invisible
// characters, in normal form C, of at most limit bytes. Runs of white space
// become one space; with lines, line ends stay.
func clean(s string, limit int, lines bool) string {
	// Cleaning only shortens, but for the normal form, which may triple.
	s = s[:min(len(s), 4*limit)]
	var b strings.Builder
	space, breaks := false, 0
	for _, r := range s {
		switch {
		case r == '\n' && lines:
			breaks++
			continue
		case unicode.IsSpace(r):
			space = true
			continue
		case r == utf8.RuneError || !visible(r):
			continue
		}
		if b.Len() > 0 {
			if breaks > 0 {
				b.WriteString(strings.Repeat("\n", min(breaks, 2)))
			} else if space {
				b.WriteByte(' ')
			}
		}
		space, breaks = false, 0
		b.WriteRune(r)
	}
	return cut(norm.NFC.String(b.String()), limit)
}

// visible drops Cc, and of Cf all but the joiners that scripts and emoji need;
// private and unassigned code points go too.
func visible(r rune) bool {
	const zeroWidthNonJoiner, zeroWidthJoiner, tagFirst, tagLast = 0x200c, 0x200d, 0xe0020, 0xe007f
	if r == zeroWidthJoiner || r == zeroWidthNonJoiner || r >= tagFirst && r <= tagLast {
		return true
	}
	return unicode.IsGraphic(r)
}

// cut shortens s to limit bytes between runes.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.TrimSpace(s[:limit])
}

func latin1(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// utf16Text decodes b; big is the order without a byte order mark.
func utf16Text(b []byte, big bool) string {
	if len(b) >= 2 {
		switch {
		case b[0] == 0xff && b[1] == 0xfe:
			b, big = b[2:], false
		case b[0] == 0xfe && b[1] == 0xff:
			b, big = b[2:], true
		}
	}
	u := make([]uint16, len(b)/2)
	for i := range u {
		if big {
			u[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
		} else {
			u[i] = uint16(b[2*i+1])<<8 | uint16(b[2*i])
		}
	}
	return string(utf16.Decode(u))
}
