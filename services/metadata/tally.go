package metadata

import (
	"slices"
	"strings"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// maxTally bounds the different values that are counted; hostile files could bring
// thousands. What does not fit is not counted and cannot win.
const maxTally = 64

// count adds n (1 or -1) to a value. Values stay in the order of their first appearance.
func count(list []*metadatav1.Tally, value string, n int) []*metadatav1.Tally {
	if value == "" {
		return list
	}
	i := slices.IndexFunc(list, func(t *metadatav1.Tally) bool { return t.GetValue() == value })
	switch {
	case i < 0 && n > 0 && len(list) < maxTally:
		return append(list, &metadatav1.Tally{Value: value, Count: 1})
	case i < 0:
		return list
	case n < 0 && list[i].GetCount() <= 1:
		return slices.Delete(list, i, i+1)
	case n < 0:
		list[i].Count--
	default:
		list[i].Count++
	}
	return list
}

// most is the value counted most, of equals the first that appeared.
func most(list []*metadatav1.Tally) string {
	var best *metadatav1.Tally
	for _, t := range list {
		if best == nil || t.GetCount() > best.GetCount() {
			best = t
		}
	}
	return best.GetValue()
}

// mostDate is the date that an album shows: of the most common year, of equals the
// earliest; within it the most common date, then the most exact, then the earliest. One
// file with another year neither cuts the album in two nor dates it.
func mostDate(list []*metadatav1.Tally) string {
	years := map[string]uint32{}
	for _, t := range list {
		years[t.GetValue()[:4]] += t.GetCount()
	}
	var best *metadatav1.Tally
	better := func(a, b *metadatav1.Tally) bool {
		ya, yb := a.GetValue()[:4], b.GetValue()[:4]
		switch {
		case ya != yb && years[ya] != years[yb]:
			return years[ya] > years[yb]
		case ya != yb:
			return ya < yb
		case a.GetCount() != b.GetCount():
			return a.GetCount() > b.GetCount()
		case len(a.GetValue()) != len(b.GetValue()):
			return len(a.GetValue()) > len(b.GetValue())
		}
		return a.GetValue() < b.GetValue()
	}
	for _, t := range list {
		if best == nil || better(t, best) {
			best = t
		}
	}
	return best.GetValue()
}

// common are the n values counted most.
func common(list []*metadatav1.Tally, n int) []string {
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b *metadatav1.Tally) int { return int(b.GetCount()) - int(a.GetCount()) })
	var out []string
	for _, t := range sorted[:min(n, len(sorted))] {
		out = append(out, t.GetValue())
	}
	return out
}

// creditKey tells lists of artists apart, whatever their order.
func creditKey(credits []*metadatav1.Credit) string {
	ids := make([]string, 0, len(credits))
	for _, c := range credits {
		ids = append(ids, c.GetArtist().GetId())
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func countCredits(list []*metadatav1.CreditTally, credits []*metadatav1.Credit, n int) []*metadatav1.CreditTally {
	if len(credits) == 0 {
		return list
	}
	k := creditKey(credits)
	i := slices.IndexFunc(list, func(t *metadatav1.CreditTally) bool { return creditKey(t.GetCredits()) == k })
	switch {
	case i < 0 && n > 0 && len(list) < maxTally:
		return append(list, &metadatav1.CreditTally{Credits: credits, Count: 1})
	case i < 0:
		return list
	case n < 0 && list[i].GetCount() <= 1:
		return slices.Delete(list, i, i+1)
	case n < 0:
		list[i].Count--
	default:
		list[i].Count++
	}
	return list
}

func mostCredits(list []*metadatav1.CreditTally) *metadatav1.CreditTally {
	var best *metadatav1.CreditTally
	for _, t := range list {
		if best == nil || t.GetCount() > best.GetCount() {
			best = t
		}
	}
	return best
}

func countArtwork(list []*metadatav1.ArtworkTally, a *metadatav1.Artwork, n int) []*metadatav1.ArtworkTally {
	if a == nil {
		return list
	}
	i := slices.IndexFunc(list, func(t *metadatav1.ArtworkTally) bool { return t.GetArtwork().GetId() == a.GetId() })
	switch {
	case i < 0 && n > 0 && len(list) < maxTally:
		return append(list, &metadatav1.ArtworkTally{Artwork: a, Count: 1})
	case i < 0:
		return list
	case n < 0 && list[i].GetCount() <= 1:
		return slices.Delete(list, i, i+1)
	case n < 0:
		list[i].Count--
	default:
		list[i].Count++
	}
	return list
}

func mostArtwork(list []*metadatav1.ArtworkTally) *metadatav1.Artwork {
	var best *metadatav1.ArtworkTally
	for _, t := range list {
		if best == nil || t.GetCount() > best.GetCount() {
			best = t
		}
	}
	return best.GetArtwork()
}

// share adds tracks and milliseconds of one class and owner; negative ones take away.
func share(list []*metadatav1.Share, class int64, owner string, tracks int, ms int64) []*metadatav1.Share {
	i := slices.IndexFunc(list, func(s *metadatav1.Share) bool { return s.GetClassId() == class && s.GetOwnerId() == owner })
	if i < 0 {
		if tracks <= 0 {
			return list
		}
		return append(list, &metadatav1.Share{ClassId: class, OwnerId: owner, Tracks: uint32(tracks), DurationMs: uint64(ms)})
	}
	left := int64(list[i].GetTracks()) + int64(tracks)
	if left <= 0 {
		return slices.Delete(list, i, i+1)
	}
	list[i].Tracks = uint32(left)
	list[i].DurationMs = uint64(max(int64(list[i].GetDurationMs())+ms, 0))
	return list
}
