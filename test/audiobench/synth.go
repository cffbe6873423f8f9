package main

import (
	"math/rand/v2"
	"slices"

	"github.com/segue-music/segue/audio/fingerprint"
)

// halves are the bits of every other classifier, and the rest.
var halves = [...]uint32{0xcccccccc, 0x33333333}

// tune fills dst with items of a track that there is not: the bits of one half of the classifiers from pieces of one real
// track, those of the other half from pieces of the same or of another. So each bit has runs as long as in real tracks, and items crowd
// as real ones do, or more: docs/audio.md has both figures.
func tune(dst fingerprint.Fingerprint, real [2]fingerprint.Fingerprint, random *rand.PCG) {
	clear(dst)
	for half, mask := range halves {
		for i := 0; i < len(dst); {
			r := random.Uint64()
			from := real[half][uint32(r)%uint32(len(real[half])):]
			n := min(len(dst)-i, len(from), 16+int(r>>32)%112)
			for k, item := range from[:n] {
				dst[i+k] |= item & mask
			}
			i += n
		}
	}
}

// worsen changes items as a bad copy does: half of them, in one to four bits.
func worsen(fp fingerprint.Fingerprint, random *rand.Rand) fingerprint.Fingerprint {
	out := slices.Clone(fp)
	for i := range out {
		if random.IntN(2) == 0 {
			for range 1 + random.IntN(4) {
				out[i] ^= 1 << random.IntN(32)
			}
		}
	}
	return out
}

// crowding tells how much items crowd: the share of equal neighbours in a track, and the chance that items of two tracks,
// each at any place of its own, are the same.
func crowding(tracks []fingerprint.Fingerprint) (same, collide float64) {
	type place struct {
		item  uint32
		track int
	}
	var all []place
	neighbours := 0
	for n, fp := range tracks {
		for i, item := range fp {
			if i > 0 && fp[i-1] == item {
				neighbours++
				continue
			}
			all = append(all, place{item, n})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return int(int64(a.item) - int64(b.item)) })
	var pairs, met float64
	sizes := map[int]int{}
	for _, p := range all {
		sizes[p.track]++
	}
	square := 0.0
	for _, n := range sizes {
		square += float64(n) * float64(n)
	}
	pairs = float64(len(all))*float64(len(all)) - square
	for i := 0; i < len(all); {
		j := i
		here := map[int]int{}
		for ; j < len(all) && all[j].item == all[i].item; j++ {
			here[all[j].track]++
		}
		met += float64(j-i) * float64(j-i)
		for _, n := range here {
			met -= float64(n) * float64(n)
		}
		i = j
	}
	return float64(neighbours) / float64(len(all)+neighbours), met / pairs
}
