package id_test

import (
	"bytes"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/segue-music/segue/stream/id"
)

func TestParse_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b id.ID
		copy(a[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "a"))
		copy(b[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "b"))
		got, err := id.Parse(a.String())
		if err != nil || got != a {
			t.Fatalf("%x is %q is %x, %v", a, a.String(), got, err)
		}
		if bytes.Compare(a[:], b[:]) != strings.Compare(a.String(), b.String()) {
			t.Fatalf("text of %x and %x sorts otherwise", a, b)
		}
	})
}

func TestParse_Refuses(t *testing.T) {
	for _, s := range []string{
		"", "0", strings.Repeat("0", 21), strings.Repeat("0", 23), strings.Repeat("z", 22),
		strings.Repeat("0", 21) + "-", strings.Repeat("0", 20) + "é",
		"7n42DGM5Tflk9n8mt7Fhc8", // 2^128
	} {
		if i, err := id.Parse(s); err == nil {
			t.Errorf("%q is %x", s, i)
		}
	}
	if i, err := id.Parse("7n42DGM5Tflk9n8mt7Fhc7"); err != nil || i != id.ID(bytes.Repeat([]byte{255}, 16)) {
		t.Errorf("2^128-1 is %x, %v", i, err)
	}
}

func TestNew_OrderedByTime(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	var all []string
	for k := range 100 {
		i := id.New(at.Add(time.Duration(k)*time.Millisecond), rand.Reader)
		if !i.Time().Equal(at.Add(time.Duration(k) * time.Millisecond)) {
			t.Fatalf("time of %s is %s", i, i.Time())
		}
		all = append(all, i.String())
	}
	if !slices.IsSorted(all) {
		t.Error("ids of rising times do not sort")
	}
}

func TestDerive(t *testing.T) {
	if id.Derive("a", "bc") == id.Derive("ab", "c") || id.Derive("a") == id.Derive("a", "") {
		t.Error("parts run together")
	}
	if first := id.Derive("a", "b"); first != id.Derive("a", "b") {
		t.Error("not the same twice")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("7n42DGM5Tflk9n8mt7Fhc7")
	f.Fuzz(func(t *testing.T, s string) {
		if i, err := id.Parse(s); err == nil && i.String() != s {
			t.Errorf("%q parses but is written %q", s, i)
		}
	})
}
