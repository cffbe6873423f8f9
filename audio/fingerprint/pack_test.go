package fingerprint_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/segue-music/segue/audio/fingerprint"
)

func TestPack(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	wild := make(fingerprint.Fingerprint, 500)
	for i := range wild {
		wild[i] = random.Uint32() & random.Uint32() & random.Uint32()
	}
	for name, fp := range map[string]fingerprint.Fingerprint{
		"nothing": {}, "zero": {0}, "all_bits": {0xffffffff}, "last_bit": {1 << 31, 1 << 31, 0}, "wild": wild,
	} {
		t.Run(name, func(t *testing.T) {
			packed, err := fingerprint.Pack(fp)
			if err != nil {
				t.Fatal(err)
			}
			back, err := fingerprint.Unpack(packed)
			if err != nil || !slices.Equal(back, fp) {
				t.Errorf("%q came back as %v, %v", packed, back, err)
			}
		})
	}
}

// TestPack_fpcalc holds both ways to what fpcalc prints for the same samples.
func TestPack_fpcalc(t *testing.T) {
	pcm := mono(t, 9, 60, "anull")
	cmd := exec.Command("fpcalc", "-plain", "-format", "s16le", "-rate", "11025", "-channels", "1", "-length", "0", "-")
	cmd.Stdin = bytes.NewReader(pcm)
	out, _ := cmd.Output() // it ends with 3 at the end of what it reads
	theirs := strings.TrimSpace(string(out))
	fp, err := fingerprint.Unpack(theirs)
	if err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	if want := reference(t, pcm); !slices.Equal(fp, want) {
		t.Errorf("unpacked %d items, want %d", len(fp), len(want))
	}
	if packed, err := fingerprint.Pack(fp); err != nil || packed != theirs {
		t.Errorf("packed %q, %v, fpcalc's %q", packed, err, theirs)
	}
}

func TestUnpack_bad(t *testing.T) {
	good, err := fingerprint.Pack(fingerprint.Fingerprint{1 << 20, 3, 1 << 31})
	if err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string]string{
		"empty": "", "no_base64": "A*AA", "padded": good + "=", "cut": good[:len(good)-2], "more": good + "AAAA",
		"another_algorithm": "Ag" + good[2:], "count_only": "AQAA_w", "new_line": good + "\n", "past_the_32nd_bit": "AQAAAf8_AA-AAA",
		"too_long": strings.Repeat("A", fingerprint.MaxPacked+1),
	} {
		t.Run(name, func(t *testing.T) {
			if fp, err := fingerprint.Unpack(packed); !errors.Is(err, fingerprint.ErrPacked) {
				t.Errorf("%v, %v", fp, err)
			}
		})
	}
}
