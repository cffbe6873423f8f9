package index_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/audio/fingerprint/index"
)

func id(n int) (id index.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

// tune makes items as music has them: each differs from the one before in some bits or none.
func tune(seed uint64, n int) fingerprint.Fingerprint {
	random := rand.New(rand.NewPCG(seed, 1))
	out := make(fingerprint.Fingerprint, n)
	item := random.Uint32()
	for i := range out {
		for range random.IntN(6) {
			item ^= 1 << random.IntN(32)
		}
		out[i] = item
	}
	return out
}

// worse flips a bit in one item of five.
func worse(fp fingerprint.Fingerprint) fingerprint.Fingerprint {
	out := append(fingerprint.Fingerprint(nil), fp...)
	for i := 0; i < len(out); i += 5 {
		out[i] ^= 1 << (i % 32)
	}
	return out
}

func config(sample int) index.Config {
	c := index.Clips()
	if sample > 1 {
		c = index.Duplicates()
	}
	c.Sample = sample
	return c
}

// engines are the indexes that hold the promises of Index.
var engines = map[string]func(t *testing.T, c index.Config) index.Index{
	"memory": func(t *testing.T, c index.Config) index.Index {
		m, err := index.NewMemory(c)
		if err != nil {
			t.Fatal(err)
		}
		return m
	},
	"disk": func(t *testing.T, c index.Config) index.Index { return open(t, t.TempDir(), c) },
	"disk_flushed": func(t *testing.T, c index.Config) index.Index {
		return &flushed{open(t, t.TempDir(), c), t}
	},
}

func open(t *testing.T, dir string, c index.Config) *index.Disk {
	t.Helper()
	d, err := index.Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // a test may have closed it
	return d
}

// flushed makes a segment of each change.
type flushed struct {
	*index.Disk
	t *testing.T
}

func (f *flushed) Insert(id index.ID, fp fingerprint.Fingerprint) error {
	err := f.Disk.Insert(id, fp)
	if e := f.Flush(); e != nil {
		f.t.Error(e)
	}
	return err
}

func (f *flushed) Remove(id index.ID) error {
	err := f.Disk.Remove(id)
	if e := f.Merge(); e != nil {
		f.t.Error(e)
	}
	return err
}

func TestIndex(t *testing.T) {
	for name, make := range engines {
		for _, sample := range []int{1, 8} {
			t.Run(name+map[int]string{1: "_all", 8: "_sampled"}[sample], func(t *testing.T) { suite(t, make(t, config(sample)), sample) })
		}
	}
}

func suite(t *testing.T, x index.Index, sample int) {
	const tracks = 20
	insert := func(n int, fp fingerprint.Fingerprint) {
		t.Helper()
		if err := x.Insert(id(n), fp); err != nil {
			t.Fatal(err)
		}
	}
	find := func(fp fingerprint.Fingerprint) []index.Match {
		t.Helper()
		found, err := x.Query(fp)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := find(tune(1, 900)); len(found) != 0 {
		t.Errorf("an empty index has %v", found)
	}
	for n := range tracks {
		insert(n, tune(uint64(n), 600+50*n))
	}
	if x.Len() != tracks {
		t.Errorf("%d tracks", x.Len())
	}
	for n := range tracks {
		fp := tune(uint64(n), 600+50*n)
		want := []index.Match{{ID: id(n), Overlap: len(fp), Equal: len(fp), Confidence: 1}}
		if diff := cmp.Diff(want, find(fp)); diff != "" {
			t.Errorf("track %d: %s", n, diff)
		}
	}
	long := tune(7, 600+50*7)
	clip := 100
	if sample > 1 {
		clip = 500
	}
	if m := find(long[333 : 333+clip]); len(m) != 1 || m[0].ID != id(7) || m[0].Offset != 333 || m[0].Overlap != clip {
		t.Errorf("from the middle: %+v", m)
	}
	intro := append(tune(1000, 60), long...)
	if m := find(intro); len(m) != 1 || m[0].ID != id(7) || m[0].Offset != -60 || m[0].Overlap != len(long) {
		t.Errorf("begins earlier: %+v", m)
	}
	if m := find(worse(long)); len(m) != 1 || m[0].ID != id(7) || m[0].ErrorRate != 1.0/32/5 || m[0].Equal != len(long)*4/5 {
		t.Errorf("a worse copy: %+v", m)
	}
	if m := find(tune(5000, 900)); len(m) != 0 {
		t.Errorf("unrelated: %+v", m)
	}

	insert(50, worse(long))
	m := find(long)
	if len(m) != 2 || m[0].ID != id(7) || m[1].ID != id(50) || m[1].Confidence >= m[0].Confidence {
		t.Errorf("two alike: %+v", m)
	}
	for range 2 { // once more is no error
		if err := x.Remove(id(7)); err != nil {
			t.Fatal(err)
		}
	}
	if m := find(long); len(m) != 1 || m[0].ID != id(50) || x.Len() != tracks {
		t.Errorf("one of them removed: %+v of %d", m, x.Len())
	}
	insert(50, tune(99, 700))
	if m := find(long); len(m) != 0 || x.Len() != tracks {
		t.Errorf("replaced: %+v of %d", m, x.Len())
	}
	insert(7, long)
	if m := find(long); len(m) != 1 || m[0].ID != id(7) {
		t.Errorf("inserted again: %+v", m)
	}

	c := config(sample)
	for name, bad := range map[string]struct {
		fp   fingerprint.Fingerprint
		want error
	}{
		"too_short": {tune(1, c.MinOverlap-1), index.ErrTooShort}, "too_long": {tune(1, index.MaxItems+1), index.ErrTooLong},
	} {
		if _, err := x.Query(bad.fp); !errors.Is(err, bad.want) {
			t.Errorf("query %s: %v", name, err)
		}
		if err := x.Insert(id(3), bad.fp); !errors.Is(err, bad.want) {
			t.Errorf("insert %s: %v", name, err)
		}
	}
	if m := find(tune(3, 750)); len(m) != 1 || m[0].ID != id(3) {
		t.Errorf("after a refused insert: %+v", m)
	}
	insert(51, tune(51, index.MaxItems))
	if m := find(tune(51, index.MaxItems)); len(m) != 1 || m[0].Overlap != index.MaxItems {
		t.Errorf("the longest: %+v", m)
	}
}

// TestIndex_silence holds equal items, of which thousands of tracks may consist, to a bounded cost.
func TestIndex_silence(t *testing.T) {
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			c := config(1)
			c.MaxPostings = 3
			x := make(t, c)
			for n := range 10 {
				fp := append(make2(200, 627964279), tune(uint64(n), 300)...)
				if err := x.Insert(id(n), fp); err != nil {
					t.Fatal(err)
				}
			}
			m, err := x.Query(append(make2(200, 627964279), tune(4, 300)...))
			if err != nil || len(m) == 0 || m[0].ID != id(4) || m[0].ErrorRate != 0 {
				t.Errorf("%+v, %v", m, err)
			}
			if m, err := x.Query(make2(200, 627964279)); err != nil || len(m) != 0 {
				t.Errorf("nothing but silence: %+v, %v", m, err)
			}
		})
	}
}

func make2(n int, item uint32) fingerprint.Fingerprint {
	out := make(fingerprint.Fingerprint, n)
	for i := range out {
		out[i] = item
	}
	return out
}

func TestIndex_atOnce(t *testing.T) {
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			x := make(t, config(1))
			if err := x.Insert(id(0), tune(0, 500)); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for g := range 3 {
				all.Go(func() {
					for n := range 10 {
						track := 1 + 10*g + n
						if err := x.Insert(id(track), tune(uint64(track), 300)); err != nil {
							t.Error(err)
						}
						if m, err := x.Query(tune(0, 500)); err != nil || len(m) != 1 {
							t.Errorf("%+v, %v", m, err)
						}
						if n%2 == 0 {
							if err := x.Remove(id(track)); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			all.Wait()
			if x.Len() != 1+15 {
				t.Errorf("%d tracks", x.Len())
			}
		})
	}
}

func TestConfig_bad(t *testing.T) {
	for name, change := range map[string]func(*index.Config){
		"sample": func(c *index.Config) { c.Sample = 0 }, "overlap": func(c *index.Config) { c.MinOverlap = 0 },
		"share": func(c *index.Config) { c.MinShare = 2 }, "rate": func(c *index.Config) { c.MaxErrorRate = -1 },
		"votes": func(c *index.Config) { c.MinVotes = 0 }, "candidates": func(c *index.Config) { c.Candidates = 0 },
		"postings": func(c *index.Config) { c.MaxPostings = 0 }, "budget": func(c *index.Config) { c.Budget = 0 },
	} {
		c := index.Clips()
		change(&c)
		if _, err := index.NewMemory(c); !errors.Is(err, index.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := index.Open(t.TempDir(), c); !errors.Is(err, index.ErrConfig) {
			t.Errorf("%s on disk: %v", name, err)
		}
	}
}
