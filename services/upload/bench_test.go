package upload_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

// BenchmarkIngest compares the CPU time of a whole ingest (three minutes into four
// renditions, measured, sealed, stored, published) with that of the bare ffmpeg command
// that only encodes.
func BenchmarkIngest(b *testing.B) {
	const seconds = 180
	song := makeAudio(b, "flac", seconds, 30)
	in := filepath.Join(b.TempDir(), "in.flac")
	if err := os.WriteFile(in, song, 0o600); err != nil {
		b.Fatal(err)
	}
	w := newWorld(b)
	w.runner = newRunner(b, 10*time.Minute)
	r := w.start(b)
	var bare, whole, wall time.Duration
	for i := range b.N {
		args := []string{"-v", "error", "-nostdin", "-y", "-threads", "1", "-i", in}
		for _, enc := range []string{
			"-ac 1 -ar 22050 -b:a 24k -minrate 24k -maxrate 24k", "-ac 2 -ar 44100 -b:a 96k", "-ac 2 -ar 44100 -b:a 160k", "-ac 2 -ar 44100 -b:a 320k",
		} {
			args = append(args, "-map", "0:a", "-c:a", "libvorbis")
			args = append(append(args, strings.Fields(enc)...), "-page_duration", "250000", "-f", "ogg", "/dev/null")
		}
		before := spent(b)
		if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		bare += spent(b) - before
		// Other bytes each time, or it is a duplicate: FLAC allows padding of any content
		// at the end, which the decoder passes over.
		mine := append(bytes.Clone(song), fmt.Sprintf("%08d", i)...)
		before, began := spent(b), time.Now()
		r.until(b, r.send(b, artist(), "x.flac", mine), in2(upload.Complete))
		whole, wall = whole+spent(b)-before, wall+time.Since(began)
	}
	n := float64(b.N)
	b.ReportMetric(bare.Seconds()/n, "bare-cpu-s/op")
	b.ReportMetric(whole.Seconds()/n, "ingest-cpu-s/op")
	b.ReportMetric(whole.Seconds()/bare.Seconds(), "ratio")
	b.ReportMetric(seconds*n/wall.Seconds(), "x-realtime")
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
