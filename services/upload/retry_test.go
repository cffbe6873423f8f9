package upload_test

import (
	"flag"
	"testing"
	"time"

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
