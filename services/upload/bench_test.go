package upload_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/services/upload"
)

// spent is the CPU time of this process and its children so far.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// encodings are the arguments of the four renditions.
var encodings = []string{
	"-ac 1 -ar 22050 -b:a 24k -minrate 24k -maxrate 24k", "-ac 2 -ar 44100 -b:a 96k", "-ac 2 -ar 44100 -b:a 160k", "-ac 2 -ar 44100 -b:a 320k",
}

// bareFFmpeg runs one ffmpeg that only encodes, into the renditions given.
func bareFFmpeg(b *testing.B, in string, encodings ...string) {
	b.Helper()
	args := []string{"-v", "error", "-nostdin", "-y", "-threads", "1", "-i", in}
	for _, enc := range encodings {
		args = append(args, "-map", "0:a", "-c:a", "libvorbis")
		args = append(append(args, strings.Fields(enc)...), "-page_duration", "250000", "-f", "ogg", "/dev/null")
	}
	command(b, "ffmpeg", args...)
}

func command(b *testing.B, name string, args ...string) {
	b.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", name, err, out)
	}
}

// tally adds up the CPU time of one way to do it.
type tally struct {
	name string
	do   func(i int)
	cpu  time.Duration
}

// BenchmarkIngest compares the CPU time, children included, of a whole ingest (three
// minutes into four renditions, measured, sealed, stored, published) with that of bare
// commands, in turns:
//
//   - bare: one ffmpeg, one input, four outputs, which only encodes;
//   - apart: four ffmpeg, of one output each;
//   - measured: bare, and the loudness by ffmpeg's ebur128 and the fingerprint by fpcalc;
//   - encode: our decoder in its sandbox, into nothing;
//   - ingest: all of it.
//
// BENCH_INGEST may name another file.
func BenchmarkIngest(b *testing.B) {
	const seconds = 180
	in := os.Getenv("BENCH_INGEST")
	if in == "" {
		in = filepath.Join(b.TempDir(), "in.flac")
		if err := os.WriteFile(in, makeAudio(b, "flac", seconds, 30), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	song, err := os.ReadFile(in)
	if err != nil {
		b.Fatal(err)
	}
	w := newWorld(b)
	w.runner = newRunner(b, 10*time.Minute)
	r := w.start(b)
	var wall time.Duration
	bare := &tally{name: "bare", do: func(int) { bareFFmpeg(b, in, encodings...) }}
	ingest := &tally{name: "ingest", do: func(i int) {
		// Other bytes each time, or it is a duplicate: FLAC allows padding of any content
		// at the end, which the decoder passes over.
		mine := append(bytes.Clone(song), fmt.Sprintf("%08d", i)...)
		began := time.Now()
		r.seldom(b, r.send(b, artist(), "x.flac", mine), in2(upload.Complete))
		wall += time.Since(began)
	}}
	all := []*tally{bare, ingest, {name: "apart", do: func(int) {
		for _, enc := range encodings {
			bareFFmpeg(b, in, enc)
		}
	}}, {name: "measured", do: func(int) {
		bareFFmpeg(b, in, encodings...)
		command(b, "ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", in, "-filter:a", "ebur128=peak=true", "-f", "null", "-")
		command(b, "fpcalc", "-raw", "-length", "120", in)
	}}, {name: "encode", do: func(int) {
		f, err := os.Open(in)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		job := ffmpeg.Job{Source: f}
		for _, x := range ffmpeg.Renditions() {
			job.Outputs = append(job.Outputs, ffmpeg.Output{Rendition: x, W: io.Discard})
		}
		if _, err := w.runner.Transcode(b.Context(), job); err != nil {
			b.Fatal(err)
		}
	}}}
	for i := range b.N {
		for _, t := range all {
			before := spent(b)
			t.do(i)
			t.cpu += spent(b) - before
		}
	}
	n := float64(b.N)
	for _, t := range all {
		b.ReportMetric(t.cpu.Seconds()/n, t.name+"-cpu-s/op")
		if t != bare {
			b.ReportMetric(t.cpu.Seconds()/bare.cpu.Seconds(), t.name+"/bare")
		}
	}
	b.ReportMetric(seconds*n/wall.Seconds(), "x-realtime")
}

// seldom is until with a look every 100 ms: looking costs what is measured here.
func (r *running) seldom(b *testing.B, uploadID string, ok func(upload.Upload) bool) {
	b.Helper()
	for {
		u, err := r.store.Get(b.Context(), uploadID)
		if err != nil {
			b.Fatal(err)
		}
		if ok(u) {
			return
		}
		if u.State == upload.Failed {
			b.Fatalf("upload has failed: %s", u.Reason)
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // until the condition holds
	}
}

func in2(s upload.State) func(upload.Upload) bool {
	return func(u upload.Upload) bool { return u.State == s }
}

// BenchmarkFolder is how fast the tracks of a new folder show: from the start of the
// service until metadata has them all.
func BenchmarkFolder(b *testing.B) {
	const files = 2000
	song := makeAudio(b, "flac", 20, 31, "-metadata", "title=T", "-metadata", "artist=A", "-metadata", "album=L")
	dir := b.TempDir()
	for i := range files {
		mine := append(bytes.Clone(song), fmt.Sprintf("%08d", i)...)
		sub := filepath.Join(dir, fmt.Sprint(i/12))
		if err := os.MkdirAll(sub, 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("%d.flac", i)), mine, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(50 * time.Millisecond) //nolint:forbidigo // the files settle
	for b.Loop() {
		w := newWorld(b)
		w.noFP, w.cfg.Watch = true, dir
		w.others.before = func(ctx context.Context, call string) error {
			if strings.HasPrefix(call, "SetTrackFacts") {
				<-ctx.Done() // the tags alone are measured
			}
			return nil
		}
		began := time.Now()
		r := w.start(b)
		for w.others.count("PutTrack") < files {
			time.Sleep(time.Millisecond) //nolint:forbidigo // until the condition holds
		}
		b.ReportMetric(files/time.Since(began).Seconds(), "files/s")
		r.stop()
	}
}
