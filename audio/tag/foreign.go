package tag

import (
	"maps"
	"slices"
)

// Clean makes hostile text fit for one line of at most limit bytes, the way every
// string of Tags is.
func Clean(s string, limit int) string { return clean(s, limit, false) }

// FromFields makes Tags of the fields that another program (ffprobe) read from a file
// whose format this package does not know. Keys are matched without case, spaces and
// underscores.
func FromFields(values map[string]string) *Tags {
	f := fields{}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		f.add(k, values[k])
	}
	t := &Tags{}
	f.fill(t)
	return t
}
