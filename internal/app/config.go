package app

import (
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/segue-music/segue/edge/collect"
	"github.com/segue-music/segue/edge/gateway"
	"github.com/segue-music/segue/edge/stream"
	"github.com/segue-music/segue/internal/obs"
	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/internal/tlscert"
	"github.com/segue-music/segue/services/charts"
	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/services/playback"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/warehouse"
)

// Config is the settings of a process; those of a module belong to the module.
type Config struct {
	Target, Data, Secrets, ReadyFile string
	SecretsWrap, PublicURL           string
	OpsListen                        string
	DataReserve                      uint64
	OpsRemoteProfiles                bool
	RPC                              rpcConfig
	Event                            eventConfig
	Stores                           storesConfig
	Load                             loadConfig
	Blob                             string
	BlobCache                        int64
	AdminPasswordFile, WatchOwner    string

	Obs       obs.Config
	TLS       tlscert.Config
	Redis     redisdb.Config
	HTTP      gateway.Config
	QUIC      stream.Config
	Collect   collect.Config
	User      user.Config
	Metadata  metadata.Config
	Playback  playback.Config
	Upload    upload.Config
	Warehouse warehouse.Config
	Charts    charts.Config
}

// RegisterFlags names every setting.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Target, "target", all, "what this process runs: all, or a comma-separated list of "+strings.Join(targetNames(), ", ")+"; or "+migrateOnly+", which brings the databases forward and ends, or "+loadOnly+", which fills those that are empty from a data folder")
	fs.StringVar(&c.Data, "data", "./data", "folder of the embedded stores")
	fs.Uint64Var(&c.DataReserve, "data.reserve", 64<<20, "bytes of the data folder's disk that uploads and diagnostics leave free for everything else; 0 is none")
	fs.StringVar(&c.Secrets, "secrets.dir", "", "folder of the keys, beside the data and not in it; empty is the data folder's name with -secrets")
	fs.StringVar(&c.SecretsWrap, "secrets.wrap.file", "", "file of a secret store with wrapping keys, a line of 64 hex digits each, of which the first seals: the keys then lie in the database of postgres.url, for all processes; empty keeps them in secrets.dir")
	fs.StringVar(&c.ReadyFile, "ready.file", "", "file that gets the addresses and the process id as JSON once everything serves")
	fs.StringVar(&c.PublicURL, "public-url", "", "URL by which browsers reach the gateway; empty is the address it listens on")
	fs.StringVar(&c.OpsListen, "ops.listen", "127.0.0.1:0", "address for metrics, health and profiles; never open it to the world")
	fs.BoolVar(&c.OpsRemoteProfiles, "ops.remote-profiles", false, "serve profiles also where ops.listen is no loopback address; without it only metrics and health are")
	fs.StringVar(&c.AdminPasswordFile, "user.admin-password.file", "", "file with the password of admin at the first start; empty makes one up and prints it once")
	fs.StringVar(&c.WatchOwner, "upload.watch-owner", "admin", "username that owns the music of the watched folder")
	fs.StringVar(&c.Blob, "blob.url", "", "bucket for objects: s3://name?region=…, gs://name; empty is a folder in the data folder")
	fs.Int64Var(&c.BlobCache, "blob.cache-bytes", 10<<30, "bytes of the data folder's disk on which an edge keeps what it reads of a bucket; 0 keeps nothing")
	c.RPC.RegisterFlags("rpc", fs)
	c.Event.RegisterFlags("event", fs)
	c.Stores.RegisterFlags(fs)
	c.Load.RegisterFlags("load", fs)
	c.Obs.RegisterFlags("obs", fs)
	c.TLS.RegisterFlags("tls", fs)
	c.Redis.RegisterFlags("redis", fs)
	c.HTTP.RegisterFlags("http", fs)
	c.QUIC.RegisterFlags("quic", fs)
	c.Collect.RegisterFlags("collect.", fs)
	c.User.RegisterFlags("user", fs)
	c.Metadata.RegisterFlags("metadata", fs)
	c.Playback.RegisterFlags("playback.", fs)
	c.Upload.RegisterFlags("upload", fs)
	c.Warehouse.RegisterFlags("warehouse", fs)
	c.Charts.RegisterFlags("charts", fs)
}

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	names, err := parseTargets(c.Target)
	if err != nil {
		return err
	}
	if err := c.RPC.Certificates.Check(); err != nil {
		return fmt.Errorf("rpc: %w", err)
	}
	if _, err := c.RPC.peers(); err != nil {
		return err
	}
	// Links and tokens name the public URL, which only the gateway's own process can guess.
	if slices.Contains(names, "user") != slices.Contains(names, "gateway") && c.PublicURL == "" {
		return fmt.Errorf("public-url is needed where user and gateway run apart")
	}
	if c.HTTP.Insecure && c.PublicURL == "" {
		return fmt.Errorf("http.insecure needs public-url: the address that the proxy before it serves")
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.TrimSuffix(u.Path, "/") != "" {
			return fmt.Errorf("public-url %q is not a URL such as https://music.example.org", c.PublicURL)
		}
	}
	return c.checkModules()
}

func (c *Config) runs(name string) bool {
	names, err := parseTargets(c.Target)
	return err == nil && slices.Contains(names, name)
}
