package metadata

import (
	"flag"
	"time"
)

// Config of the service.
type Config struct {
	// SpreadDelay is how long an album or artist must be quiet before a change of it is
	// repeated in its tracks.
	SpreadDelay time.Duration
}

// RegisterFlags declares the settings and their defaults.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.DurationVar(&c.SpreadDelay, prefix+".spread-delay", 500*time.Millisecond,
		"how long an album or artist is quiet before its name, cover and gain are repeated in its tracks")
}
