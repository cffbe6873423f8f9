package embedding_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segue-music/segue/audio/embedding"
)

// TestExact: after any puts, replacements and removals the nearest are those that a sort of
// all finds.
func TestExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	vector := func() []float32 {
		v := make([]float32, 7)
		for i := range v {
			v[i] = float32(random.IntN(5)) - 2 // so that there are equals
		}
		return v
	}
	var x embedding.Index = embedding.NewExact(7)
	kept := map[string][]float32{}
	for range 3000 {
		id := fmt.Sprint(random.IntN(200))
		switch random.IntN(4) {
		case 0:
			x.Remove(id)
			delete(kept, id)
		case 1:
			n, query := random.IntN(12), vector()
			leave := func(id string) bool { return id[0] == '1' }
			got, err := x.Nearest(query, n, leave)
			if err != nil {
				t.Fatal(err)
			}
			var want []embedding.Neighbour
			for id, v := range kept {
				s := float32(0)
				for i := range v {
					s += v[i] * query[i]
				}
				if !leave(id) {
					want = append(want, embedding.Neighbour{ID: id, Similarity: s})
				}
			}
			slices.SortFunc(want, func(a, b embedding.Neighbour) int {
				return cmp.Or(cmp.Compare(b.Similarity, a.Similarity), cmp.Compare(a.ID, b.ID))
			})
			want = want[:min(n, len(want))]
			if !slices.Equal(got, want) {
				t.Fatalf("nearest %d: %v, want %v", n, got, want)
			}
		default:
			v := vector()
			if err := x.Put(id, v); err != nil {
				t.Fatal(err)
			}
			kept[id] = v
		}
		if x.Len() != len(kept) {
			t.Fatalf("%d kept, want %d", x.Len(), len(kept))
		}
	}
	if err := x.Put("a", make([]float32, 6)); !errors.Is(err, embedding.ErrDimensions) {
		t.Errorf("put: %v", err)
	}
	if _, err := x.Nearest(nil, 1, nil); !errors.Is(err, embedding.ErrDimensions) {
		t.Errorf("nearest: %v", err)
	}
}

func BenchmarkExact(b *testing.B) {
	x := embedding.NewExact(embedding.Dimensions)
	random := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, embedding.Dimensions)
	for i := range 50_000 {
		for j := range v {
			v[j] = random.Float32() - 0.5
		}
		if err := x.Put(fmt.Sprint(i), v); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := x.Nearest(v, 20, nil); err != nil {
			b.Fatal(err)
		}
	}
}
