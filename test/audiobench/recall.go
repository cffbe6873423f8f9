package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/audio/fingerprint/index"
)

// recall makes copies and clips of all tracks, asks an index of the tracks for them, and tells how far those of others are.
func recall(ctx context.Context, _ *options, files []string) error {
	originals := make([]original, len(files))
	whole, clips := make([][]variant, len(files)), make([][]variant, len(files))
	err := each(len(files), func(i int) (err error) {
		originals[i], whole[i], clips[i], err = makeVariants(ctx, i, files[i])
		note("%s: %d items", originals[i].name, len(originals[i].fp))
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("### Copies, asked of an index of duplicates (one item in %d)\n\n", index.Duplicates().Sample)
	same := twins(originals)
	begins := func(o original) fingerprint.Fingerprint { return o.begin }
	if err := ask(index.Duplicates(), originals, begins, slices.Concat(whole...), same); err != nil {
		return err
	}
	fmt.Printf("\n### Clips of 10 s, asked of an index of whole tracks (all items)\n\n")
	all := func(o original) fingerprint.Fingerprint { return o.fp }
	return ask(index.Clips(), originals, all, slices.Concat(clips...), same)
}

// twins tells which tracks are one recording, so that one found for the other is right: those whose items are nearly the same.
func twins(originals []original) map[[2]int]bool {
	out := map[[2]int]bool{}
	for a := range originals {
		for b := range originals {
			if a != b && fingerprint.Compare(originals[a].begin, originals[b].begin).ErrorRate < 0.1 {
				out[[2]int{a, b}] = true
				note("%s and %s are one recording", originals[a].name, originals[b].name)
			}
		}
	}
	return out
}

// row is one kind of copy.
type row struct {
	kind            string
	n, found, wrong int
	rates           []float64 // at the best of all offsets
	worstAt         float64
}

// ask queries an index for each variant, and compares it with each original at each offset besides.
func ask(c index.Config, originals []original, part func(original) fingerprint.Fingerprint, variants []variant, same map[[2]int]bool) error {
	x, err := index.NewMemory(c)
	if err != nil {
		return err
	}
	left := 0
	for n, o := range originals {
		if len(part(o)) < c.MinOverlap {
			left++
			continue
		}
		if err := x.Insert(trackID(n), part(o)); err != nil {
			return err
		}
	}
	var rows []*row
	var own, strange []float64
	var nearest string
	least := 1.0
	for _, v := range variants {
		if len(v.fp) < c.MinOverlap || len(part(originals[v.track])) < c.MinOverlap {
			continue
		}
		i := slices.IndexFunc(rows, func(r *row) bool { return r.kind == v.kind })
		if i < 0 {
			i = len(rows)
			rows = append(rows, &row{kind: v.kind})
		}
		r := rows[i]
		r.n++
		found, err := x.Query(v.fp)
		if err != nil {
			return err
		}
		right := false
		for _, m := range found {
			n := int(binary.BigEndian.Uint64(m.ID[:]))
			switch {
			case n == v.track:
				right = true
				r.worstAt = max(r.worstAt, math.Abs(float64(m.Offset)-v.at))
			case !same[[2]int{n, v.track}]:
				r.wrong++
				note("%s of %s: also %s, %+v", v.kind, originals[v.track].name, originals[n].name, m)
			}
		}
		if right {
			r.found++
		} else {
			note("%s of %s: not found", v.kind, originals[v.track].name)
		}
		rate := closest(c, v.fp, part(originals[v.track]))
		r.rates = append(r.rates, rate)
		own = append(own, rate)
		for n, o := range originals {
			if n == v.track || same[[2]int{n, v.track}] || len(part(o)) < c.MinOverlap {
				continue
			}
			rate := closest(c, v.fp, part(o))
			if rate < least {
				least = rate
				nearest = fmt.Sprintf("%s of %s, and %s", v.kind, originals[v.track].name, o.name)
			}
			strange = append(strange, rate)
		}
	}
	fmt.Printf("%d tracks", x.Len())
	if left > 0 {
		fmt.Printf("; %d more are too short", left)
	}
	fmt.Println(".\n\n| | asked | found | recall | others found | error rate, median | greatest | offset off by, items |\n|---|---|---|---|---|---|---|---|")
	for _, r := range rows {
		slices.Sort(r.rates)
		fmt.Printf("| %s | %d | %d | %.1f %% | %d | %.3f | %.3f | %.1f |\n", r.kind, r.n, r.found, 100*float64(r.found)/float64(r.n), r.wrong,
			r.rates[len(r.rates)/2], r.rates[len(r.rates)-1], r.worstAt)
	}
	curve(own, strange)
	fmt.Printf("\nThe nearest two of unlike tracks: %s.\n", nearest)
	return nil
}

// curve tells for thresholds which share of pairs of either kind lies below.
func curve(own, strange []float64) {
	slices.Sort(own)
	slices.Sort(strange)
	below := func(v []float64, limit float64) int {
		n, _ := slices.BinarySearch(v, math.Nextafter(limit, 1))
		return n
	}
	fmt.Printf("\nReceiver operating characteristic, each pair at its best offset: %d pairs of a copy and its track, %d of a copy and another track, whose least error rate is %.3f.\n\n",
		len(own), len(strange), strange[0])
	fmt.Println("| greatest error rate | copies found | others found |\n|---|---|---|")
	for _, limit := range []float64{0.02, 0.05, 0.10, 0.15, 0.20, 0.225, 0.25, 0.275, 0.30, 0.325, 0.35, 0.375, 0.40, 0.45} {
		a, b := below(own, limit), below(strange, limit)
		fmt.Printf("| %.3f | %d (%.2f %%) | %d (%.4f %%) |\n", limit, a, 100*float64(a)/float64(len(own)), b, 100*float64(b)/float64(len(strange)))
	}
}

// closest is the least error rate of all offsets at which the common part is as long as c wants it.
func closest(c index.Config, fp, track fingerprint.Fingerprint) float64 {
	least := max(c.MinOverlap, int(c.MinShare*float64(min(len(fp), len(track)))))
	best := 1.0
	for at := least - len(fp); at <= len(track)-least; at++ {
		from, to := max(0, at), min(len(track), at+len(fp))
		theirs, ours := track[from:to], fp[from-at:][:to-from]
		limit := int(best * float64(32*len(theirs)))
		wrong := 0
		for i, v := range theirs {
			if wrong += bits.OnesCount32(v ^ ours[i]); wrong > limit {
				break
			}
		}
		best = min(best, float64(wrong)/float64(32*len(theirs)))
	}
	return best
}

func trackID(n int) (id index.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}
