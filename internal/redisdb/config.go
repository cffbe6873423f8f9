package redisdb

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/segue-music/segue/internal/credfile"
)

// Config says where Redis is. Without an address there is none.
type Config struct {
	Addr         string // comma-separated host:port
	Username     string
	PasswordFile string
	TLS          bool
	CAFile       string
	Timeout      time.Duration
}

// RegisterFlags names the flags and sets the defaults.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Addr, prefix+".addr", "", "host:port of Redis, which instances of a service share limits, caches and notices by; several with commas are a cluster; empty does without")
	fs.StringVar(&c.Username, prefix+".username", "", "user of Redis' access list; empty is its default user")
	fs.StringVar(&c.PasswordFile, prefix+".password.file", "", "file with the password for Redis; empty is none")
	fs.BoolVar(&c.TLS, prefix+".tls", false, "reach Redis by TLS")
	fs.StringVar(&c.CAFile, prefix+".tls-ca.file", "", "file with the certificates (PEM) that vouch for Redis; empty takes the system's")
	fs.DurationVar(&c.Timeout, prefix+".timeout", 10*time.Millisecond, "how long a call waits for Redis before it does without; after some that waited in vain none waits until Redis is back")
}

// Check refuses what cannot be meant. It reads no file.
func (c *Config) Check() error {
	var errs []error
	for _, addr := range c.addrs() {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("addr: %q is not host:port", addr))
		}
	}
	if c.Timeout < time.Millisecond || c.Timeout > time.Second {
		errs = append(errs, errors.New("timeout must be between 1ms and 1s"))
	}
	if c.CAFile != "" && !c.TLS {
		errs = append(errs, errors.New("tls-ca.file needs tls"))
	}
	return errors.Join(errs...)
}

// On tells whether there is a Redis.
func (c *Config) On() bool { return c.Addr != "" }

func (c *Config) addrs() []string {
	if c.Addr == "" {
		return nil
	}
	list := strings.Split(c.Addr, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// settings are those of the driver.
func (c *Config) settings() (*redis.UniversalOptions, error) {
	err := c.Check()
	if err != nil {
		return nil, err
	}
	o := &redis.UniversalOptions{
		Addrs: c.addrs(), Username: c.Username, ClientName: "segue",
		// Each call says by its context how long it may take.
		ContextTimeoutEnabled: true, ReadTimeout: connecting, WriteTimeout: connecting, PoolTimeout: connecting,
		// What has failed is not tried again: the caller does without. A dial goes on for the
		// next caller when the one who began it has given up.
		MaxRetries: -1, MaxRedirects: 3, DialTimeout: connecting, DialerRetries: 1,
		// Scripts are short and their answers too.
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, PipelinePoolSize: -1,
		MinIdleConns: 2, ConnMaxIdleTime: 5 * time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.PasswordFile != "" {
		if o.Password, err = credfile.Password(c.PasswordFile); err != nil {
			return nil, fmt.Errorf("read password: %w", err)
		}
	}
	if c.TLS {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.CAFile != "" {
		if o.TLSConfig.RootCAs, err = credfile.Authorities(c.CAFile); err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
	}
	return o, nil
}
