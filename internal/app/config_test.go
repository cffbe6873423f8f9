package app

import (
	"flag"
	"io"
	"regexp"
	"strings"
	"testing"
)

func settings(t *testing.T, args ...string) (*Config, *flag.FlagSet, error) {
	t.Helper()
	fs := flag.NewFlagSet("segue", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	c := &Config{}
	c.RegisterFlags(fs)
	return c, fs, fs.Parse(args)
}

func TestConfig_Names(t *testing.T) {
	_, fs, err := settings(t)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$`)
	fs.VisitAll(func(f *flag.Flag) {
		if !wellFormed.MatchString(f.Name) {
			t.Errorf("%q is no name that a variable or a YAML file can have", f.Name)
		}
	})
}

func TestConfig_Check(t *testing.T) {
	for name, tt := range map[string]struct{ arg, says string }{
		"defaults":  {"-target=all", ""},
		"log":       {"-obs.log-level=loud", "obs"},
		"bucket":    {"-blob.url=ftp://x", "blob.url"},
		"no_bucket": {"-blob.url=s3://", "blob.url"},
		"redis":     {"-redis.addr=nowhere", "redis: addr"},
		"tls":       {"-tls.mode=acme", "domain"},
		"http":      {"-http.max-conns=0", "max-conns"},
		"quic":      {"-quic.edge-id=", "edge-id"},
		"collect":   {"-collect.rate=0", "rate"},
		"user":      {"-user.market=usa", "market"},
		"playback":  {"-playback.ticket-life=1s", "ticket-life"},
		"upload":    {"-upload.workers=0", "upload.workers"},
		"warehouse": {"-warehouse.file-rows=0", "file-rows"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := settings(t, tt.arg)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Check()
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %q", tt.arg, err, tt.says)
			}
		})
	}
}
