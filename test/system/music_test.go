//go:build system

package system

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// sound makes a recording of so many samples and cuts it in two files at cut: their join
// is only right when not one sample is lost or doubled.
func (d *deployment) sound(samples, cut int, name string) (first, second string) {
	d.Helper()
	pcm := make([]byte, 0, samples*4)
	seed := uint32(2463534242)
	low := 0.0
	for i := range samples {
		seed ^= seed << 13
		seed ^= seed >> 17
		seed ^= seed << 5
		low += (float64(int32(seed))/4 - low) / 12 // noise, like an instrument that never repeats
		v := int16(low / 65536)
		if i%22050 < 800 {
			v /= 2
		}
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(v))
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(-v))
	}
	write := func(part []byte, title string, number int) string {
		out := d.file(fmt.Sprintf("%s %d.flac", name, number))
		cmd := exec.Command("ffmpeg", "-v", "error", "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0",
			"-metadata", "title="+title, "-metadata", "artist=The Testers", "-metadata", "album="+name,
			"-metadata", fmt.Sprintf("track=%d", number), out)
		cmd.Stdin = bytes.NewReader(part)
		if b, err := cmd.CombinedOutput(); err != nil {
			d.Fatalf("ffmpeg: %v\n%s", err, b)
		}
		return out
	}
	return write(pcm[:cut*4], "First half", 1), write(pcm[cut*4:], "Second half", 2)
}

// listed is one track of `seguectl tracks --json`.
type listed struct {
	ID, Title, Album, State string
	Artists                 []string
	DurationMS              int `json:"duration_ms"`
}

func (d *deployment) tracks() []listed {
	d.Helper()
	var out []listed
	if err := json.Unmarshal([]byte(d.must("tracks", "--json")), &out); err != nil {
		d.Fatal(err)
	}
	return out
}

func (d *deployment) track(title string) listed {
	d.Helper()
	for _, t := range d.tracks() {
		if t.Title == title {
			return t
		}
	}
	d.Fatalf("no track %q", title)
	return listed{}
}

// stats are what `seguectl play --stats json` prints.
type stats struct {
	StartMS   float64 `json:"start_ms"`
	Transport string
	Bytes     int64
	Samples   int64
	Gaps      int
}

func (d *deployment) play(args ...string) stats {
	d.Helper()
	var s stats
	out := d.must(append([]string{"play", "--stats", "json", "--pace", "fast"}, args...)...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		d.Fatalf("%v in %q", err, out)
	}
	return s
}

// pcmOf is the sound of a WAV file.
func pcmOf(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("data"))
	if at < 0 {
		t.Fatalf("%s is no WAV file", path)
	}
	size := binary.LittleEndian.Uint32(b[at+4:])
	if int(size) != len(b)-at-8 {
		t.Errorf("%s says %d bytes of sound and holds %d", path, size, len(b)-at-8)
	}
	return b[at+8:]
}

// blobs are the files of the objects of one process.
func (d *deployment) blobs() []string {
	d.Helper()
	names, err := filepath.Glob(d.file("data/blobs/objects/objects/*"))
	if err != nil {
		d.Fatal(err)
	}
	return names
}
