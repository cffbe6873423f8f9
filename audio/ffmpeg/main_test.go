package ffmpeg_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/segue-music/segue/audio/ffmpeg"
)

// TestMain lets the test binary stand in for segue: it is what the Runner
// starts again to build the sandbox.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox-exec" {
		os.Exit(ffmpeg.SandboxMain(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == "escape" {
		os.Exit(escape(os.Args[2]))
	}
	if _, how, ok := strings.Cut(filepath.Base(os.Args[0]), "ffmpeg-that-"); ok {
		os.Exit(hang(how))
	}
	os.Exit(m.Run())
}

// hang tells its version, and does nothing else to an end.
func hang(how string) int {
	if len(os.Args) > 1 && os.Args[1] == "-version" {
		_, _ = os.Stdout.WriteString("ffmpeg version that " + how + "\n")
		return 0
	}
	for sum := uint32(0); how == "works"; sum++ {
		if sum == 0 {
			how = strings.Clone(how) // a loop that the linter cannot call empty
		}
	}
	// Few system calls are left: this one waits for what nobody does.
	word := uint32(0)
	for {
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&word)), 0, 0, 0, 0, 0)
	}
}

func newRunner(t testing.TB, cfg ffmpeg.Config) *ffmpeg.Runner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Self, cfg.SelfArgs = self, []string{"sandbox-exec"}
	r, err := ffmpeg.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wave makes a WAV file of a sweep and noise.
func wave(seconds float64, rate, channels int) []byte {
	frames := int(seconds * float64(rate))
	data := make([]byte, 0, frames*channels*2)
	seed := uint32(7)
	for i := range frames {
		t := float64(i) / float64(rate)
		for c := range channels {
			seed = seed*1664525 + 1013904223
			v := 0.4*math.Sin(2*math.Pi*(200+100*float64(c)+40*t)*t) + 0.05*float64(int32(seed))/(1<<31)
			data = binary.LittleEndian.AppendUint16(data, uint16(int16(v*32000)))
		}
	}
	le := binary.LittleEndian
	h := []byte("RIFF")
	h = le.AppendUint32(h, uint32(36+len(data)))
	h = append(h, "WAVEfmt "...)
	h = le.AppendUint32(h, 16)
	h = le.AppendUint16(h, 1)
	h = le.AppendUint16(h, uint16(channels))
	h = le.AppendUint32(h, uint32(rate))
	h = le.AppendUint32(h, uint32(rate*channels*2))
	h = le.AppendUint16(h, uint16(channels*2))
	h = le.AppendUint16(h, 16)
	h = append(h, "data"...)
	h = le.AppendUint32(h, uint32(len(data)))
	return append(h, data...)
}

// convert runs the bare ffmpeg on in and returns what it makes, as a file that
// can seek (MP4 needs that).
func convert(t testing.TB, in []byte, ext string, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out."+ext)
	cmd := exec.Command("ffmpeg", append(append([]string{"-v", "error", "-nostdin", "-i", "pipe:0"}, args...), out)...)
	cmd.Stdin = bytes.NewReader(in)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg (a requirement of Segue): %v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stage writes b to a private file and opens it for reading.
func stage(t testing.TB, name string, b []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}
