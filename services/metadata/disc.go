package metadata

import "regexp"

var (
	// "Title (Disc 2)", "Title [CD 1: The Early Years]", "Title, Disc 1", "Title - CD2 of 3".
	discSuffix = regexp.MustCompile(`(?i)^(.*\S)(?:\s*[(\[]\s*(?:disc|disk|cd)\s*#?([0-9]{1,2})(?:\s*(?:of|/)\s*[0-9]{1,2})?(?:\s*[:–—-][^()\[\]]*)?\s*[)\]]` +
		`|\s*[,:;–—]\s*(?:disc|disk|cd)\s*#?([0-9]{1,2})(?:\s*(?:of|/)\s*[0-9]{1,2})?` +
		`|\s+-\s+(?:disc|disk|cd)\s*#?([0-9]{1,2})(?:\s*(?:of|/)\s*[0-9]{1,2})?)\s*$`)
	// "Title CD 2": may well be the title itself.
	bareDisc = regexp.MustCompile(`(?i)^(.*\S)\s+(?:disc|disk|cd)\s*#?([0-9]{1,2})$`)
)

// splitDisc takes a disc suffix off an album's title when that is safe: the tags say the
// same disc, or say none, or say "1" as rippers do that take every disc for an album.
// Without a bracket or a comma the tags must say the same disc.
func splitDisc(title string, disc, total uint32) (string, uint32) {
	if m := discSuffix.FindStringSubmatch(title); m != nil {
		n := atoi(m[2] + m[3] + m[4])
		if n > 0 && (disc == 0 || disc == n || disc == 1 && total <= 1) {
			return m[1], n
		}
		return title, disc
	}
	if m := bareDisc.FindStringSubmatch(title); m != nil && disc > 0 && atoi(m[2]) == disc {
		return m[1], disc
	}
	return title, disc
}
