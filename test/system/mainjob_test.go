//go:build system

package system

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"time"
)

const (
	allSamples = 44100 * 9
	cutAt      = 200_317 // no multiple of anything
)

// mainJob is the main job: a file goes in, sealed sound comes out, and every act is
// found afterwards.
func mainJob(d *deployment) {
	one, two := d.sound(allSamples, cutAt, "Join")
	d.must("upload", one, two, "--wait")
	first, second := d.track("First half"), d.track("Second half")
	if first.State != "complete" || first.Album != "Join" || first.Artists[0] != "The Testers" || first.DurationMS != 4542 {
		d.Errorf("listed as %+v", first)
	}
	d.joins(first, second)
	d.seeks(first)
	d.qualities(first)
	d.sealed()
	d.recorded(first)
}

// joins plays both tracks into one file: exactly the samples of the whole, without a gap.
func (d *deployment) joins(first, second listed) {
	d.Helper()
	for _, quality := range []string{"96", "160", "320"} {
		s := d.play(first.ID, second.ID, "--quality", quality, "--sink", "wav:"+d.file("join.wav"))
		if s.Samples != allSamples || s.Gaps != 0 || s.Bytes == 0 || s.Transport != "quic" {
			d.Errorf("quality %s: %+v, want %d samples by quic", quality, s, allSamples)
		}
		if pcm := pcmOf(d.T, d.file("join.wav")); len(pcm) != allSamples*4 {
			d.Errorf("quality %s: %d samples in the file, want %d", quality, len(pcm)/4, allSamples)
		}
	}
}

// seeks asks for the middle: what comes is what the whole holds there, to the sample.
func (d *deployment) seeks(first listed) {
	d.Helper()
	d.play(first.ID, "--quality", "160", "--sink", "wav:"+d.file("whole.wav"))
	s := d.play(first.ID, "--quality", "160", "--from", "2s500ms", "--sink", "wav:"+d.file("tail.wav"))
	const from = 44100 * 5 / 2
	if s.Samples != cutAt-from {
		d.Errorf("from 2.5 s: %d samples, want %d", s.Samples, cutAt-from)
	}
	whole, tail := pcmOf(d.T, d.file("whole.wav")), pcmOf(d.T, d.file("tail.wav"))
	if !bytes.Equal(whole[from*4:], tail) {
		d.Error("the sound after a seek differs from that of the whole")
	}
}

// qualities plays what is left: mono at 22.05 kHz, and what the client chooses itself.
func (d *deployment) qualities(first listed) {
	d.Helper()
	for _, quality := range []string{"24", "auto"} {
		if s := d.play(first.ID, "--quality", quality, "--sink", "null"); s.Samples < cutAt-100 || s.Samples > cutAt+100 || s.Gaps != 0 {
			d.Errorf("quality %s: %+v", quality, s)
		}
	}
}

// sealed looks at what is stored: no plain Ogg anywhere.
func (d *deployment) sealed() {
	d.Helper()
	for _, name := range d.blobs() {
		b, err := os.ReadFile(name)
		if err != nil {
			d.Fatal(err)
		}
		if n := bytes.Count(b, []byte("OggS")); n > 4 {
			d.Errorf("%s holds %d plain Ogg pages", name, n)
		}
	}
	if status, _, _ := d.get("/o/" + strings.Repeat("0", 32)); status != 401 && status != 403 {
		d.Errorf("an object without a token: status %d", status)
	}
}

// recorded finds the acts: in the log at once, and in the lake.
func (d *deployment) recorded(first listed) {
	d.Helper()
	want := []string{"PlaybackStarted", "PlaybackEnded", "StreamServed", "TrackPlayed", "UploadStaged", "RenditionPublished", "SessionOpened", "LoggedIn"}
	d.until(60*time.Second, "every event of a play", func() error { return d.missing(want) })
	if !strings.Contains(d.must("audit", "--subject", "track:"+first.ID, "--json"), "RenditionPublished") {
		d.Error("the audit of the track does not tell of its renditions")
	}
	d.parquet(want)
	if !d.without["charts"] {
		d.charted(first)
	}
}

func (d *deployment) missing(types []string) error {
	for _, typ := range types {
		out, diag, err := d.ctl("", "events", "grep", "--type", typ, "--json")
		if err != nil {
			return errorf("events of %s: %v %s", typ, err, diag)
		}
		if !strings.Contains(out, typ) {
			return errorf("no event %s", typ)
		}
		var e map[string]any
		if err := json.Unmarshal([]byte(strings.SplitN(out, "\n", 2)[0]), &e); err != nil {
			return errorf("event %q: %v", out, err)
		}
	}
	return nil
}
