package redisdb

import (
	"flag"
	"testing"
	"time"
)

func TestConfig_Check(t *testing.T) {
	for args, ok := range map[string]bool{
		"": true, "-redis.addr=r:6379": true, "-redis.addr=a:1,b:2": true, "-redis.addr=r": false, "-redis.addr=:6379": false,
		"-redis.timeout=0s": false, "-redis.timeout=5s": false, "-redis.tls-ca.file=x": false,
	} {
		var c Config
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		c.RegisterFlags("redis", fs)
		if args != "" {
			if err := fs.Parse([]string{args}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Check(); (err == nil) != ok {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestBreaker(t *testing.T) {
	b, now := newBreaker(), time.Now()
	if b.allows() {
		t.Error("calls pass before Redis was found")
	}
	b.close(now)
	for range 100 { // one of four fails
		b.failed()
		for range 3 {
			b.answered()
		}
	}
	if !b.allows() {
		t.Error("open though most calls are answered")
	}
	b.failed()
	b.failed()
	if !b.allows() {
		t.Error("open after two failures")
	}
	b.failed()
	if b.allows() {
		t.Error("shut after three failures")
	}
	select {
	case <-b.opened:
	default:
		t.Error("nobody is told that it opened")
	}
	for range 20 {
		b.pause(now)
	}
	if got := b.pause(now.Add(time.Second)); got < lastPause/2 || got > lastPause {
		t.Errorf("pause %s after many, want about %s", got, lastPause)
	}
	if got := b.pause(now.Add(calm + 1)); got > firstPause {
		t.Errorf("pause %s after a calm time", got)
	}
}
