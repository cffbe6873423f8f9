package metadata

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

const (
	untitledTrack = "Untitled"
	untitledAlbum = "Unknown album"
	unknownArtist = "Unknown artist"
)

var (
	// "1-03 Song", "103" is not taken for disc and number.
	discAndNumber = regexp.MustCompile(`^([0-9]{1,2})-([0-9]{2})[ ._-]+(\S.*)$`)
	// "03 - Song", "3. Song", "03_Song", "03 Song"; but "99 Luftballons" keeps its 99:
	// without a separator only a leading zero marks a number.
	numberFirst = regexp.MustCompile(`^(?:([0-9]{1,3}) ?[-._)] ?|(0[0-9]{1,2}) )(\S.*)$`)
)

// fromFileName is the title that a file without one gets, and the disc and number its
// name begins with, 0 where it has none.
func fromFileName(name string) (title string, disc, number uint32) {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= 6 {
		name = name[:i]
	}
	name = line(strings.ReplaceAll(name, "_", " "), maxTitle)
	if m := discAndNumber.FindStringSubmatch(name); m != nil && says(m[3]) {
		return m[3], atoi(m[1]), atoi(m[2])
	}
	if m := numberFirst.FindStringSubmatch(name); m != nil && says(m[3]) {
		return m[3], 0, atoi(m[1] + m[2])
	}
	if name == "" {
		name = untitledTrack
	}
	return name, 0, 0
}

// says tells whether a text has a letter or a digit.
func says(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
}

func atoi(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
