package pcm

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestWav_Golden(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.wav")
	w, err := CreateWav(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][]byte{{1, 0, 255, 255}, {2, 0, 254, 255, 3, 0, 253, 255}} {
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "three_frames.wav")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%x, want\n%x", got, want)
	}
}

// A writer that was killed leaves a file that plays as far as its header was corrected.
func TestWav_Killed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.wav")
	w, err := CreateWav(name)
	if err != nil {
		t.Fatal(err)
	}
	second := make([]byte, Rate*FrameSize)
	for range 7 {
		if _, err := w.Write(second); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	size := int(b[40]) | int(b[41])<<8 | int(b[42])<<16 | int(b[43])<<24
	if size < 5*len(second) || size > 7*len(second) || len(b) < wavHeader+size {
		t.Errorf("the header speaks of %d bytes, the file has %d", size, len(b))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWav_Full(t *testing.T) {
	w, err := CreateWav(filepath.Join(t.TempDir(), "x.wav"))
	if err != nil {
		t.Fatal(err)
	}
	w.bytes = wavMost - 3
	if _, err := w.Write(make([]byte, 4)); !errors.Is(err, ErrWavFull) {
		t.Errorf("error is %v", err)
	}
	w.bytes = 0
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func frames(d time.Duration) []byte { return make([]byte, int(d*Rate/time.Second)*FrameSize) }

func TestLine_Realtime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, began := NewLine(Null{}, Realtime), time.Now()
		if err := l.Write(t.Context(), frames(3*time.Second)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 3*time.Second+latency-Lead {
			t.Errorf("3 s were taken in %v", took)
		}
		if got := Duration(l.Heard()); got != 3*time.Second-Lead {
			t.Errorf("%v heard", got)
		}
		if err := l.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 3*time.Second+latency || l.Heard() != l.Written() || l.Written() != 3*Rate {
			t.Errorf("after %v %d of %d frames heard", took, l.Heard(), l.Written())
		}
		if l.Gaps() != 0 {
			t.Errorf("%d gaps", l.Gaps())
		}
	})
}

func TestLine_Gaps(t *testing.T) {
	for name, tc := range map[string]struct {
		pause time.Duration
		want  int
	}{"in time": {Lead, 0}, "late": {Lead + time.Millisecond, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewLine(Null{}, Realtime)
				for range 2 {
					if err := l.Write(t.Context(), frames(time.Second)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(tc.pause) // of the bubble's clock
				}
				if l.Gaps() != tc.want {
					t.Errorf("%d gaps, want %d", l.Gaps(), tc.want)
				}
			})
		})
	}
}

// device takes sound at its own speed.
type device struct{ factor float64 }

func (d device) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(float64(Duration(uint64(len(p)/FrameSize))) * d.factor))
	return len(p), nil
}

func (device) Close() error { return nil }

func TestLine_Device(t *testing.T) {
	for name, factor := range map[string]float64{"exact": 1, "fast": 0.99, "buffers at first": 0.1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewLine(device{factor}, Device)
				if err := l.Write(t.Context(), frames(time.Minute)); err != nil {
					t.Fatal(err)
				}
				if ahead := Duration(l.Written() - l.Heard()); ahead > Lead || l.Gaps() != 0 {
					t.Errorf("%v ahead, %d gaps", ahead, l.Gaps())
				}
			})
		})
	}
}

func TestLine_Cancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l := NewLine(Null{}, Realtime)
		if err := l.Write(ctx, frames(time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestDuration(t *testing.T) {
	for n, want := range map[uint64]time.Duration{0: 0, 441: 10 * time.Millisecond, Rate: time.Second, 100 * 3600 * Rate: 100 * time.Hour} {
		if got := Duration(n); got != want {
			t.Errorf("Duration(%d) = %v, want %v", n, got, want)
		}
	}
}

// A program that stands for a player is given the sound, all of it and as it is.
func TestSpeaker(t *testing.T) {
	script := func(t *testing.T, dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("none", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := OpenSpeaker(t.Context()); !errors.Is(err, ErrNoSpeaker) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("the second, where the first is too old", func(t *testing.T) {
		dir := t.TempDir()
		out := filepath.Join(dir, "out")
		script(t, dir, "pw-cat", "echo usage: pw-cat FILE")
		script(t, dir, "aplay", `/bin/cat > `+out)
		t.Setenv("PATH", dir)
		s, err := OpenSpeaker(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte{1, 2, 3, 4}, 50_000)
		if _, err := s.Write(want); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, want %d: %v", len(got), len(want), err)
		}
	})
	t.Run("it fails", func(t *testing.T) {
		dir := t.TempDir()
		script(t, dir, "paplay", "echo no server >&2; exit 1")
		t.Setenv("PATH", dir)
		s, err := OpenSpeaker(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = s.Write(make([]byte, 1<<16))
		}
		if !bytes.Contains([]byte(err.Error()), []byte("no server")) {
			t.Errorf("error is %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
