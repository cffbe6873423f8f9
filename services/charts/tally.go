package charts

import (
	"cmp"
	"slices"
)

// Cell is one number of a store: the plays of a track in a chart.
type Cell struct {
	Key
	TrackID string
}

// Added is what plays add to one cell.
type Added struct {
	Cell
	Plays int64
}

// Tally is what plays, each of an event of its own, add to which cells, in the order in
// which every writer takes them: so none waits for another in a circle.
func Tally(plays []Play) []Added {
	sums := map[Cell]int64{}
	for _, p := range plays {
		for _, period := range Periods() {
			k := Key{Period: period, Start: period.Start(p.Began), Market: Everywhere}
			sums[Cell{k, p.TrackID}]++
			if p.Market != Everywhere {
				k.Market = p.Market
				sums[Cell{k, p.TrackID}]++
			}
		}
	}
	out := make([]Added, 0, len(sums))
	for c, n := range sums {
		out = append(out, Added{c, n})
	}
	slices.SortFunc(out, func(a, b Added) int {
		return cmp.Or(cmp.Compare(a.Period, b.Period), a.Start.Compare(b.Start), cmp.Compare(a.Market, b.Market), cmp.Compare(a.TrackID, b.TrackID))
	})
	return out
}
