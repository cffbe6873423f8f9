package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/segue-music/segue/audio/fingerprint"
)

const classifiers = 16 // of two bits each

// model is how a real track's items follow each other: for each classifier's two bits how long each value stays, and which
// comes next. A tune of it has the runs of the real track, and its values as often, in an order of its own.
type model [classifiers][4]symbol

type symbol struct {
	stays []uint16 // lengths that were seen
	next  []uint8  // values that followed
}

// learn counts the runs of a track. After its last one, where nothing else followed its value, comes its first.
func learn(fp fingerprint.Fingerprint) *model {
	var m model
	for c := range classifiers {
		value := func(i int) uint8 { return uint8(fp[i]>>(2*c)) & 3 }
		for i := 0; i < len(fp); {
			j := i + 1
			for j < len(fp) && value(j) == value(i) {
				j++
			}
			s := &m[c][value(i)]
			s.stays = append(s.stays, uint16(min(j-i, math.MaxUint16)))
			if j < len(fp) {
				s.next = append(s.next, value(j))
			} else if len(s.next) == 0 {
				s.next = append(s.next, value(0))
			}
			i = j
		}
	}
	return &m
}

// tune fills dst with items.
func (m *model) tune(dst fingerprint.Fingerprint, random *rand.PCG) {
	clear(dst)
	for c := range m {
		values := &m[c]
		v := uint8(random.Uint64() & 3)
		for len(values[v].stays) == 0 { // the real track never has it
			v = (v + 1) & 3
		}
		for i := 0; i < len(dst); {
			s := &values[v]
			r := random.Uint64()
			stay := int(s.stays[uint32(r)%uint32(len(s.stays))])
			bits := uint32(v) << (2 * c)
			for end := min(len(dst), i+stay); i < end; i++ {
				dst[i] |= bits
			}
			v = s.next[uint32(r>>32)%uint32(len(s.next))]
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
