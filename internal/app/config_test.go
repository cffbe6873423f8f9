package app

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/segue-music/segue/internal/config"
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
		"postgres":  {"-postgres.url=mysql://x", "postgres.url"},
		"password":  {"-postgres.url=postgres://a:b@h/x", "postgres.password.file"},
		"cassandra": {"-cassandra.hosts=ring", "cassandra.hosts"},
		"migrate":   {"-target=migrate", ""},
		"two_runs":  {"-target=migrate,user", "migrate"},
		"prefix":    {"-event.kafka-prefix=a/b", "event.kafka-prefix"},
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

// TestConfig_Shipped: the files of deploy/config are read whole and may be used, for every
// target, and a key that no setting has is refused in them as well.
func TestConfig_Shipped(t *testing.T) {
	const dir = "../../deploy/config"
	load := func(path string, args ...string) (*Config, error) {
		fs := flag.NewFlagSet("segue", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		c := &Config{}
		c.RegisterFlags(fs)
		if err := config.Load(fs, append(args, "-config.file="+path), nil); err != nil {
			return nil, err
		}
		return c, c.Check()
	}
	one, err := load(filepath.Join(dir, "all.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if one.Target != all || one.PublicURL == "" || one.RPC.Peers != "" || one.Event.Kafka.On() || one.Blob != "" {
		t.Errorf("all.yaml is not of one process with everything in its folder: %+v", one)
	}
	for _, name := range targetNames() {
		c, err := load(filepath.Join(dir, "cluster.yaml"), "-target="+name)
		if err != nil {
			t.Errorf("cluster.yaml for %s: %v", name, err)
			continue
		}
		peers, err := c.RPC.peers()
		if err != nil || len(peers) != len(targetNames()) {
			t.Errorf("cluster.yaml names the peers %v: %v", peers, err)
		}
		if !c.Event.Kafka.On() || c.Blob == "" || c.RPC.Listen == "" || c.OpsListen == "" {
			t.Errorf("cluster.yaml leaves out what %s shares with others: %+v", name, c)
		}
	}
	for _, name := range []string{"all.yaml", "cluster.yaml"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, append(b, "blop: {url: s3://x}\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(path); !errors.Is(err, config.ErrUnknown) {
			t.Errorf("%s with a misspelt key: %v", name, err)
		}
	}
}
