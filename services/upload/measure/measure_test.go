package measure_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/services/upload/measure"
)

func fan(t *testing.T, prints *fingerprint.Calculator) *measure.Fan {
	f := &measure.Fan{Tell: func(uint32) {}}
	for _, m := range measure.Makers(prints) {
		f.Taps = append(f.Taps, m(t.Context()))
	}
	return f
}

// TestFan: a decode that fails, or an fpcalc that does, holds nobody up.
func TestFan(t *testing.T) {
	second := make([]byte, 44100*4)
	for name, path := range map[string]string{"real": "", "missing": "/nonexistent", "silent": "/bin/true"} {
		t.Run(name, func(t *testing.T) {
			f := fan(t, &fingerprint.Calculator{Path: path})
			var found measure.Findings
			for range 5 {
				if _, err := f.Write(second); err != nil {
					t.Fatal(err)
				}
			}
			err := f.Finish(&found)
			if failed := errors.Is(err, fingerprint.ErrFpcalc); failed == (name == "real") {
				t.Errorf("error %v", err)
			}
			if found.Loudness.Frames != 5*44100 || len(found.PCM) != 64 || (len(found.Print) > 0) != (name == "real") {
				t.Errorf("found %+v", found)
			}
			aborted := fan(t, &fingerprint.Calculator{Path: path})
			if _, err := aborted.Write(second); err != nil {
				t.Fatal(err)
			}
			if err := aborted.Finish(nil); err != nil {
				t.Errorf("aborted: %v", err)
			}
		})
	}
}

func TestFan_Progress(t *testing.T) {
	var told []uint32
	f := &measure.Fan{Expect: time.Second, Tell: func(m uint32) { told = append(told, m) }}
	for _, n := range []int{22050, 100, 22050, 44100} { // also more than expected
		if _, err := f.Write(bytes.Repeat([]byte{1}, n*4)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]uint32{500, 1000}, told); diff != "" {
		t.Error(diff)
	}
}

func TestSketch(t *testing.T) {
	items := make([]uint32, 500)
	for i := range items {
		items[i] = uint32(i*i*2654435761 + 17)
	}
	whole, part := measure.Sketch(items), measure.Sketch(items[100:])
	if len(whole) != 64 {
		t.Errorf("%d terms", len(whole))
	}
	common := map[uint32]bool{}
	for _, a := range whole {
		for _, b := range part {
			if a == b {
				common[a] = true
			}
		}
	}
	if len(common) < 40 {
		t.Errorf("a shifted print shares only %d terms", len(common))
	}
	if got := measure.Sketch([]uint32{16, 17, 31, 16}); !cmp.Equal(got, []uint32{1}) {
		t.Errorf("terms %v", got)
	}
	if got := measure.Sketch(nil); got != nil {
		t.Errorf("terms of nothing: %v", got)
	}
}
