// Package streamtest makes real sound for the tests of the streaming packages, with
// the encoder and the arguments that Segue uses.
package streamtest

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"
)

// Ogg encodes seconds of loud, changing stereo sound at about kbps (96, 160 or 320, or
// 24 in mono) as Ogg Vorbis with pages of 250 ms. The same arguments give the same
// bytes. It needs ffmpeg with libvorbis in the PATH.
func Ogg(tb testing.TB, seconds float64, kbps int) []byte {
	tb.Helper()
	source := fmt.Sprintf("aevalsrc=0.4*sin(2*PI*(220+40*t)*t)+0.2*random(0)|0.4*sin(2*PI*(330-20*t)*t)+0.2*random(1):s=44100:d=%g", seconds)
	args := []string{
		"-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", source, "-map_metadata", "-1",
		"-fflags", "+bitexact", "-flags:a", "+bitexact", "-c:a", "libvorbis", "-b:a", fmt.Sprintf("%dk", kbps),
	}
	if kbps == 24 {
		args = append(args, "-ac", "1", "-ar", "22050", "-minrate", "24k", "-maxrate", "24k")
	} else {
		args = append(args, "-ac", "2", "-ar", "44100")
	}
	args = append(args, "-page_duration", "250000", "-f", "ogg", "-")
	cmd := exec.CommandContext(tb.Context(), "ffmpeg", args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		tb.Fatalf("encode: %v: %s", err, errs.Bytes())
	}
	return out.Bytes()
}
