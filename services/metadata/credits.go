package metadata

import (
	"regexp"
	"slices"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

const (
	roleMain     = "main"
	roleFeatured = "featured"

	variousName = "Various Artists"
	variousMBID = "89ad4ac3-39f7-470e-963a-56509c546377" // MusicBrainz's own entry
)

// named is an artist as a file names it, before matching.
type named struct{ name, mbid, role, join string }

// featuring ends the main artist. Readers of tags split here already; a client that
// sends the raw tag gets the same artists.
var featuring = regexp.MustCompile(`(?i)^(.*\S)\s+[(\[]?(?:feat\.?|ft\.|featuring)\s+([^()\[\]]*\S)\s*[)\]]?$`)

// trackNames are the artists of a track: main ones, then featured ones.
func trackNames(t *metadatav1.FileTags) []named {
	mains, featured := lines(t.GetArtists()), lines(t.GetFeatured())
	if len(featured) == 0 && len(mains) > 0 {
		if m := featuring.FindStringSubmatch(mains[len(mains)-1]); m != nil {
			mains[len(mains)-1], featured = m[1], []string{m[2]}
		}
	}
	ids := t.GetMusicbrainzArtistIds()
	switch {
	case len(mains) > 0 && len(ids) != len(mains) && len(ids) != len(mains)+len(featured):
		ids = nil // which id is whose is a guess
	case len(mains) == 0:
		mains, ids = lines(t.GetAlbumArtists()), t.GetMusicbrainzAlbumArtistIds()
		if len(ids) != len(mains) {
			ids = nil
		}
		if slices.ContainsFunc(mains, isVarious) {
			mains, ids = nil, nil
		}
	}
	if len(mains) == 0 {
		mains = []string{unknownArtist}
	}
	var out []named
	for i, name := range mains {
		n := named{name: name, role: roleMain, join: ", "}
		// Joins stand between the artists as the tags list them.
		if i < len(t.GetArtistJoins()) && len(mains) == len(t.GetArtists()) && i < len(mains)-1 {
			if j := joinText(t.GetArtistJoins()[i]); j != "" {
				n.join = j
			}
		}
		if i < len(ids) {
			n.mbid = mbid(ids[i])
		}
		out = append(out, n)
	}
	for i, name := range featured {
		n := named{name: name, role: roleFeatured, join: ", "}
		if k := len(mains) + i; len(t.GetArtists()) > 0 && k < len(ids) {
			n.mbid = mbid(ids[k])
		}
		out = append(out, n)
	}
	if len(featured) > 0 {
		out[len(mains)-1].join = " feat. "
	}
	out[len(out)-1].join = ""
	return out
}

// albumNames are the album artists that the file names, none where it names none.
func albumNames(t *metadatav1.FileTags) []named {
	names := lines(t.GetAlbumArtists())
	ids := t.GetMusicbrainzAlbumArtistIds()
	if len(ids) != len(names) {
		ids = nil
	}
	var out []named
	for i, name := range names {
		n := named{name: name, role: roleMain, join: ", "}
		if i < len(ids) {
			n.mbid = mbid(ids[i])
		}
		if isVarious(name) || n.mbid == variousMBID {
			return []named{various()}
		}
		out = append(out, n)
	}
	if len(out) == 0 {
		if t.GetCompilation() {
			return []named{various()}
		}
		return nil
	}
	out[len(out)-1].join = ""
	return out
}

func various() named { return named{name: variousName, mbid: variousMBID, role: roleMain} }

func isVarious(name string) bool {
	switch fold(name) {
	case "various artists", "various", "va", "v.a.", "v/a":
		return true
	}
	return false
}

// lines cleans names and drops empty ones and repeats.
func lines(in []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range in {
		s = line(s, maxName)
		if k := fold(s); k != "" && !seen[k] && len(out) < maxNames {
			seen[k] = true
			out = append(out, s)
		}
	}
	return out
}

// joinText keeps the spaces around it, which are its point.
func joinText(s string) string {
	trimmed := line(s, maxJoin)
	if trimmed == "" {
		return ""
	}
	if s[0] == ' ' {
		trimmed = " " + trimmed
	}
	if s[len(s)-1] == ' ' {
		trimmed += " "
	}
	return trimmed
}
