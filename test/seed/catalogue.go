package seed

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/segue-music/segue/stream/id"
)

// release is one album or single.
type release struct {
	Artist, Title, Date, Label, UPC string
	Genres                          []string
	First                           int // number of its first track in the whole catalogue
	Tracks                          []song
}

type song struct {
	ID, Title, ISRC string
	Featured        []string
	MS              uint64
}

// draw makes a catalogue of n tracks: artists whose number of releases falls with their
// rank by Zipf's law (exponent 1), releases of 1 to 24 tracks.
func draw(n int, seed uint64) []release {
	d := &drawing{Rand: rand.New(rand.NewPCG(seed, 0x5e97e)), seed: seed} //nolint:gosec // a catalogue to test with
	artists := max(1, n/45)
	// The most prolific artist has as many releases as makes the sum come to n tracks.
	harmonic := math.Log(float64(artists)) + 0.5772
	most := max(1, float64(n)/10/harmonic)
	var out []release
	for rank, made := 1, 0; made < n; rank++ {
		a := d.artist(rank)
		for range max(1, int(most/float64(rank))) {
			if made == n {
				break
			}
			r := d.release(a, len(out), made, n-made)
			out = append(out, r)
			made += len(r.Tracks)
		}
	}
	return out
}

type drawing struct {
	*rand.Rand
	seed  uint64
	names []string
}

// performer is an artist, and the script of their titles.
type performer struct {
	name   string
	words  words
	genres []string
}

func (d *drawing) artist(rank int) performer {
	w := scripts[0]
	if d.IntN(100) < 35 {
		w = scripts[d.IntN(len(scripts))]
	}
	name := w.name(d.Rand)
	if rank > 40 || d.IntN(3) == 0 { // names repeat in the world, but seldom among the known
		name = fmt.Sprintf("%s%s%s", name, w.join, pick(d.Rand, w.nouns))
	}
	d.names = append(d.names, name)
	g := d.IntN(len(genres))
	return performer{name: name, words: w, genres: []string{genres[g], genres[(g+1+d.IntN(3))%len(genres)]}}
}

func (d *drawing) release(a performer, number, first, left int) release {
	size := 1 // a single
	switch p := d.IntN(100); {
	case p >= 90:
		size = 13 + d.IntN(12)
	case p >= 35:
		size = 8 + d.IntN(6)
	case p >= 20:
		size = 3 + d.IntN(4)
	}
	r := release{
		Artist: a.name, Title: a.words.title(d.Rand), First: first, Genres: a.genres[:1+d.IntN(2)],
		Date: fmt.Sprintf("%d-%02d-%02d", 1958+d.IntN(67), 1+d.IntN(12), 1+d.IntN(28)), Label: pick(d.Rand, labels),
		UPC: fmt.Sprintf("%012d", 400000000000+number),
	}
	if d.IntN(12) == 0 {
		r.Title += pick(d.Rand, editions)
	}
	for i := range min(size, left) {
		t := song{
			ID: id.Derive("seed", fmt.Sprint(d.seed), fmt.Sprint(first+i)).String(), Title: a.words.title(d.Rand),
			ISRC: fmt.Sprintf("ZZ%s%07d", "SEG", first+i),
			// Lengths as they are in real catalogues: a log-normal around 3:40.
			MS: uint64(min(1_500_000, max(45_000, 220_000*math.Exp(0.33*d.NormFloat64())))),
		}
		switch p := d.IntN(100); {
		case p < 6 && len(d.names) > 3:
			t.Featured = []string{d.names[int(float64(len(d.names))*d.Float64()*d.Float64())]}
		case p < 10:
			t.Title += pick(d.Rand, versions)
		}
		r.Tracks = append(r.Tracks, t)
	}
	return r
}

// byArtist groups releases that follow each other.
func byArtist(all []release) (out [][]release) {
	for i, r := range all {
		if i == 0 || all[i-1].Artist != r.Artist {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], r)
	}
	return out
}
