package fingerprint_test

import (
	"bytes"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/segue-music/segue/audio/fingerprint"
)

// reference runs fpcalc on mono samples at 11,025 Hz, which it does not resample.
func reference(t *testing.T, pcm []byte) fingerprint.Fingerprint {
	t.Helper()
	cmd := exec.Command("fpcalc", "-raw", "-format", "s16le", "-rate", "11025", "-channels", "1", "-length", "0", "-")
	cmd.Stdin = bytes.NewReader(pcm)
	out, err := cmd.Output() // it ends with 3 at the end of what it reads
	_, list, ok := strings.Cut(string(out), "FINGERPRINT=")
	if !ok {
		t.Fatalf("fpcalc (a requirement of Segue): %v: %q", err, out)
	}
	var fp fingerprint.Fingerprint
	for item := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		v, err := strconv.ParseUint(item, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		fp = append(fp, uint32(v))
	}
	return fp
}

// mono makes what music makes into samples that an extractor takes.
func mono(t *testing.T, seed uint32, seconds float64, filter string) []byte {
	t.Helper()
	return ffmpeg(t, music(seed, seconds, 0), "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0", "-af", filter,
		"-ar", "11025", "-ac", "1", "-f", "s16le", "pipe:1")
}

func samples(pcm []byte) []int16 {
	out := make([]int16, len(pcm)/2)
	for i := range out {
		out[i] = int16(uint16(pcm[2*i]) | uint16(pcm[2*i+1])<<8)
	}
	return out
}

// TestCompute_fpcalc compares item by item with fpcalc. It calculates in single precision, so that an item in thousands
// may differ in a bit whose ratio lies on a limit.
func TestCompute_fpcalc(t *testing.T) {
	for name, filter := range map[string]string{
		"plain": "anull", "with_noise": "aeval=val(0)+0.2*(random(0)-0.5)|val(1)+0.2*(random(1)-0.5)", "faint": "volume=-60dB",
		"clipped": "volume=30dB", "gaps_of_silence": "volume=enable='between(mod(t,7),3,6)':volume=0",
	} {
		t.Run(name, func(t *testing.T) {
			pcm := mono(t, 7, 60, filter)
			got, want := fingerprint.Compute(samples(pcm)), reference(t, pcm)
			if len(got) != len(want) || len(got) < 450 {
				t.Fatalf("%d items, fpcalc made %d", len(got), len(want))
			}
			wrong := 0
			for i := range got {
				if got[i] != want[i] {
					wrong++
					t.Logf("item %d is %08x, fpcalc's %08x", i, got[i], want[i])
				}
			}
			if wrong > 2 {
				t.Errorf("%d of %d items differ from fpcalc's", wrong, len(got))
			}
		})
	}
}

// TestExtractor_pieces gives the same sound in pieces of every kind.
func TestExtractor_pieces(t *testing.T) {
	pcm := mono(t, 5, 20, "anull")
	all := samples(pcm)
	want := fingerprint.Compute(all)
	if len(want) < 100 {
		t.Fatalf("%d items", len(want))
	}
	collect := func(feed func(*fingerprint.Extractor)) (fp fingerprint.Fingerprint) {
		feed(fingerprint.NewExtractor(func(item uint32) { fp = append(fp, item) }))
		return fp
	}
	for _, size := range []int{1, 3, 1000, 4097, len(pcm)} {
		got := collect(func(e *fingerprint.Extractor) {
			for piece := range slices.Chunk(pcm, size) {
				if n, err := e.Write(piece); n != len(piece) || err != nil {
					t.Fatalf("wrote %d of %d, %v", n, len(piece), err)
				}
			}
		})
		if !slices.Equal(got, want) {
			t.Errorf("pieces of %d bytes make other items", size)
		}
	}
	got := collect(func(e *fingerprint.Extractor) {
		for piece := range slices.Chunk(all, 777) {
			floats := make([]float32, len(piece))
			for i, v := range piece {
				floats[i] = float32(v) / math.MaxInt16
			}
			e.FeedFloat(floats)
		}
	})
	wrong := 0
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			wrong++
		}
	}
	if len(got) != len(want) || wrong > 1 {
		t.Errorf("floats make %d items, %d of them others", len(got), wrong)
	}
}

// TestExtractor_hostile feeds what is no sound: items come, and those after it are of sound again.
func TestExtractor_hostile(t *testing.T) {
	pcm := samples(mono(t, 6, 20, "anull"))
	floats := make([]float32, len(pcm))
	for i, v := range pcm {
		floats[i] = float32(v) / math.MaxInt16
	}
	for i := range 6000 {
		floats[i] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32}[i%4]
	}
	var got fingerprint.Fingerprint
	fingerprint.NewExtractor(func(item uint32) { got = append(got, item) }).FeedFloat(floats)
	want := fingerprint.Compute(pcm)
	if len(got) != len(want) || !slices.Equal(got[10:], want[10:]) {
		t.Errorf("%d items, want %d", len(got), len(want))
	}
	if fp := fingerprint.Compute(make([]int16, (fingerprint.ItemFrames-1)*fingerprint.SamplesPerItem+4095)); fp != nil {
		t.Errorf("%d items of too little sound", len(fp))
	}
	if fp := fingerprint.Compute(make([]int16, (fingerprint.ItemFrames-1)*fingerprint.SamplesPerItem+4096)); len(fp) != 1 {
		t.Errorf("%d items of just enough silence", len(fp))
	}
}
