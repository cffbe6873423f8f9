package tag

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// fields are raw values by key. All formats' names come down to the same keys:
// upper case letters and digits only, so that "MusicBrainz Album Id",
// "MUSICBRAINZ_ALBUMID" and "album artist" need no table.
type fields map[string][]string

const maxKeys = 512

func (f fields) add(key, value string) {
	key = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, key[:min(len(key), 64)])
	if key == "" || value == "" || len(f[key]) >= maxValues || len(f) >= maxKeys {
		return
	}
	f[key] = append(f[key], value)
}

// missing adds a value only when the key has none: for weaker tags.
func (f fields) missing(key, value string) {
	if len(f[key]) == 0 {
		f.add(key, value)
	}
}

// first returns the first clean value of the first key that has one.
func (f fields) first(keys ...string) string {
	for _, k := range keys {
		for _, v := range f[k] {
			if s := line(v); s != "" {
				return s
			}
		}
	}
	return ""
}

// list returns all clean values of the first key that has any, without
// repetition, split at "; ".
func (f fields) list(keys ...string) []string {
	for _, k := range keys {
		var out []string
		for _, v := range f[k] {
			for part := range strings.SplitSeq(line(v), "; ") {
				if part = strings.Trim(part, "; "); part != "" && !slices.Contains(out, part) && len(out) < maxValues {
					out = append(out, part)
				}
			}
		}
		if out != nil {
			return out
		}
	}
	return nil
}

func (f fields) text(limit int, keys ...string) string {
	for _, k := range keys {
		for _, v := range f[k] {
			if s := clean(v, limit, true); s != "" {
				return s
			}
		}
	}
	return ""
}

func (f fields) fill(t *Tags) {
	t.Title = f.first("TITLE")
	t.Album = f.first("ALBUM")
	t.MusicBrainz = MusicBrainz{
		Recording:    f.uuid("MUSICBRAINZTRACKID", "MUSICBRAINZRECORDINGID"),
		Release:      f.uuid("MUSICBRAINZALBUMID", "MUSICBRAINZRELEASEID"),
		ReleaseGroup: f.uuid("MUSICBRAINZRELEASEGROUPID"),
		ReleaseTrack: f.uuid("MUSICBRAINZRELEASETRACKID"),
		Artists:      f.uuids("MUSICBRAINZARTISTID"),
		AlbumArtists: f.uuids("MUSICBRAINZALBUMARTISTID"),
	}
	t.ArtistCredit = line(strings.Join(f.list("ARTIST", "ARTISTS"), ", "))
	t.Artists, t.Featured = people(f.list("ARTISTS", "ARTIST"), len(t.MusicBrainz.Artists))
	_, inTitle := cutFeatured(t.Title)
	for _, name := range []string{inTitle, f.featuredCredit()} {
		if name != "" && !slices.Contains(t.Featured, name) && !slices.Contains(t.Artists, name) {
			t.Featured = append(t.Featured, name)
		}
	}
	t.AlbumArtists, _ = people(f.list("ALBUMARTISTS", "ALBUMARTIST"), len(t.MusicBrainz.AlbumArtists))
	t.Composers = f.list("COMPOSER")
	t.Genres = f.list("GENRE")
	t.Label = f.first("LABEL", "PUBLISHER", "ORGANIZATION")
	t.Comment = f.text(maxText, "COMMENT", "DESCRIPTION")
	t.Lyrics = f.text(maxLyrics, "LYRICS", "UNSYNCEDLYRICS")
	t.Copyright = f.text(maxText, "COPYRIGHT")
	t.Licence = f.text(maxText, "LICENSE", "LICENCE")
	t.Track, t.TrackTotal = f.number("TRACKNUMBER", "TRACK"), f.number("TRACKTOTAL", "TOTALTRACKS")
	t.Disc, t.DiscTotal = f.number("DISCNUMBER", "DISC"), f.number("DISCTOTAL", "TOTALDISCS")
	if n := f.ofTotal("TRACKNUMBER", "TRACK"); t.TrackTotal == 0 {
		t.TrackTotal = n
	}
	if n := f.ofTotal("DISCNUMBER", "DISC"); t.DiscTotal == 0 {
		t.DiscTotal = n
	}
	t.Date = f.date("DATE", "YEAR", "RELEASEDATE")
	t.OriginalDate = f.date("ORIGINALDATE", "ORIGINALRELEASEDATE", "ORIGINALYEAR")
	switch strings.ToLower(f.first("COMPILATION", "ITUNESCOMPILATION")) {
	case "1", "true", "yes":
		t.Compilation = true
	}
	switch f.first("ITUNESADVISORY") {
	case "1", "4": // explicit, and what older shops wrote for it; 2 is a clean edit
		t.Explicit = true
	}
	t.ISRC = isrc(f.first("ISRC"))
	t.Barcode = barcode(f.first("BARCODE", "UPC", "EAN", "EANUPC"))
	t.CatalogNumber = f.first("CATALOGNUMBER", "LABELNO")
	f.fillGain(&t.ReplayGain)
}

// featuredCredit finds a featured credit in ARTIST when ARTISTS gave the names.
func (f fields) featuredCredit() string {
	if len(f["ARTISTS"]) == 0 {
		return ""
	}
	_, name := cutFeatured(f.first("ARTIST"))
	// Names that ARTISTS lists need no second credit; a list of several names is
	// no name.
	for _, a := range f.list("ARTISTS") {
		if strings.Contains(name, a) {
			return ""
		}
	}
	return name
}

// people applies the package's rules to a list of names. ids is the number of
// MusicBrainz artist ids.
func people(names []string, ids int) (artists, featured []string) {
	if len(names) == 1 && ids > 1 {
		if parts := strings.Split(names[0], "/"); len(parts) == ids {
			names = parts
		}
	}
	for _, n := range names {
		main, guest := cutFeatured(n)
		if main = strings.TrimSpace(main); main != "" && !slices.Contains(artists, main) {
			artists = append(artists, main)
		}
		if guest != "" && !slices.Contains(featured, guest) {
			featured = append(featured, guest)
		}
	}
	return artists, featured
}

// cutFeatured cuts "A feat. B" and "A (feat. B)" into A and B; any other text is A.
func cutFeatured(s string) (main, guest string) {
	// ASCII only, so that the positions stay.
	lower := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, s)
	for _, word := range []string{"feat. ", "featuring ", "ft. "} {
		at := strings.Index(lower, word)
		if at < 2 || !strings.ContainsRune(" ([", rune(lower[at-1])) {
			continue
		}
		main = strings.TrimRight(s[:at], " ([")
		guest = s[at+len(word):]
		if opening := lower[at-1]; opening != ' ' {
			closing := map[byte]string{'(': ")", '[': "]"}[opening]
			guest, _, _ = strings.Cut(guest, closing)
		}
		if guest = strings.TrimSpace(guest); main != "" && guest != "" {
			return main, guest
		}
	}
	return s, ""
}

// number reads "3" or "3/12"; at most 9999.
func (f fields) number(keys ...string) int {
	s, _, _ := strings.Cut(f.first(keys...), "/")
	return small(s)
}

func (f fields) ofTotal(keys ...string) int {
	_, s, _ := strings.Cut(f.first(keys...), "/")
	return small(s)
}

func small(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 || n > 9999 {
		return 0
	}
	return n
}

// date takes the year, month and day that a value begins with.
func (f fields) date(keys ...string) string {
	for _, k := range keys {
		if d := date(f.first(k)); d != "" {
			return d
		}
	}
	return ""
}

func date(s string) string {
	digits := func(from, to, low, high int) bool {
		if len(s) < to {
			return false
		}
		n, err := strconv.ParseUint(s[from:to], 10, 16)
		return err == nil && int(n) >= low && int(n) <= high
	}
	if !digits(0, 4, 1000, 2999) {
		return ""
	}
	switch {
	case len(s) > 4 && unicode.IsDigit(rune(s[4])): // 20060102
		if digits(4, 6, 1, 12) && digits(6, 8, 1, 31) {
			return s[:4] + "-" + s[4:6] + "-" + s[6:8]
		}
		return ""
	case !digits(5, 7, 1, 12) || s[4] != '-':
		return s[:4]
	case !digits(8, 10, 1, 31) || s[7] != '-':
		return s[:7]
	}
	return s[:10]
}

func alphanumeric(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, s)
}

// isrc checks ISO 3901: two letters, three letters or digits, seven digits.
func isrc(s string) string {
	s = alphanumeric(s)
	if len(s) != 12 {
		return ""
	}
	for i, r := range s {
		digit := r >= '0' && r <= '9'
		if i < 2 && digit || i >= 5 && !digit {
			return ""
		}
	}
	return s
}

func barcode(s string) string {
	s = alphanumeric(s)
	if len(s) < 8 || len(s) > 14 || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

func (f fields) uuid(keys ...string) string {
	for _, k := range keys {
		if ids := f.uuids(k); len(ids) > 0 {
			return ids[0]
		}
	}
	return ""
}

func (f fields) uuids(key string) []string {
	var out []string
	for _, v := range f[key] {
		for part := range strings.FieldsFuncSeq(line(v), func(r rune) bool { return strings.ContainsRune("/;, ", r) }) {
			if part = strings.ToLower(part); isUUID(part) && !slices.Contains(out, part) && len(out) < maxValues {
				out = append(out, part)
			}
		}
	}
	return out
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (r == '-') {
			return false
		}
		if r != '-' && !strings.ContainsRune("0123456789abcdef", r) {
			return false
		}
	}
	return true
}

func (f fields) fillGain(g *ReplayGain) {
	g.TrackGain = f.decimal(-60, 60, "REPLAYGAINTRACKGAIN")
	g.AlbumGain = f.decimal(-60, 60, "REPLAYGAINALBUMGAIN")
	g.TrackPeak = f.decimal(0, 100, "REPLAYGAINTRACKPEAK")
	g.AlbumPeak = f.decimal(0, 100, "REPLAYGAINALBUMPEAK")
	// RFC 7845, section 5.2.1: Q7.8 to -23 LUFS; ReplayGain 2 aims at -18.
	opus := func(p **float64, key string) {
		if q := f.decimal(-32768, 32767, key); *p == nil && q != nil {
			v := *q/256 + 5
			*p = &v
		}
	}
	opus(&g.TrackGain, "R128TRACKGAIN")
	opus(&g.AlbumGain, "R128ALBUMGAIN")
}

func (f fields) decimal(low, high float64, key string) *float64 {
	s, _, _ := strings.Cut(f.first(key), " ")
	v, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(s), "db"), "+"), 64)
	if err != nil || math.IsNaN(v) || v < low || v > high {
		return nil
	}
	return &v
}
