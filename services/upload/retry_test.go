package upload_test

import (
	"flag"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/services/upload"
)

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		attempt uint32
		jitter  float64
		want    time.Duration
	}{
		{0, 1, time.Second / 2}, {1, 1, time.Second}, {2, 1, 2 * time.Second}, {3, 0.5, 2 * time.Second}, {5, 0, 0},
		{9, 1, 256 * time.Second}, {10, 1, 5 * time.Minute}, {63, 1, 5 * time.Minute}, {1 << 31, 0.5, 150 * time.Second},
	} {
		if got := upload.Backoff(tt.attempt, tt.jitter); tt.attempt > 0 && got != tt.want {
			t.Errorf("attempt %d, jitter %v: %v, want %v", tt.attempt, tt.jitter, got, tt.want)
		}
	}
}

func TestSketch(t *testing.T) {
	items := make([]uint32, 500)
	for i := range items {
		items[i] = uint32(i*i*2654435761 + 17)
	}
	whole, part := upload.Sketch(items), upload.Sketch(items[100:])
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
	if got := upload.Sketch([]uint32{16, 17, 31, 16}); !cmp.Equal(got, []uint32{1}) {
		t.Errorf("terms %v", got)
	}
	if got := upload.Sketch(nil); got != nil {
		t.Errorf("terms of nothing: %v", got)
	}
}

func TestConfig_Check(t *testing.T) {
	good := func() upload.Config {
		var c upload.Config
		c.RegisterFlags("upload", flag.NewFlagSet("", flag.ContinueOnError))
		return c
	}
	if err := good().Check(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for name, change := range map[string]func(*upload.Config){
		"workers": func(c *upload.Config) { c.Workers = 0 }, "size": func(c *upload.Config) { c.MaxSize = 0 },
		"quota": func(c *upload.Config) { c.Quota = -1 }, "attempts": func(c *upload.Config) { c.MaxAttempts = 0 },
		"rescan": func(c *upload.Config) { c.Rescan = 0 }, "expire": func(c *upload.Config) { c.Expire = time.Second },
	} {
		c := good()
		change(&c)
		if c.Check() == nil {
			t.Errorf("%s: a value that cannot work was taken", name)
		}
	}
}
