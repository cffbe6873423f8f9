package collect

import (
	"errors"
	"flag"
	"time"
)

// Config of the collector.
type Config struct {
	// Rate is how many events a listener may send per second in the long run, Burst
	// how many at once after a silence (an app that comes back with a full spool).
	Rate, Burst int
	// KeyFresh is how long a listener's key is held in memory. What is sealed with the key
	// of a listener who was deleted meanwhile cannot be opened by anyone.
	KeyFresh time.Duration
	// Remembered is how many ids of diagnostics are held to drop repeats.
	Remembered int
}

// RegisterFlags declares the flags; the defaults stand here only.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.IntVar(&c.Rate, prefix+"rate", 20, "events per second that one listener may send in the long run")
	fs.IntVar(&c.Burst, prefix+"burst", 4000, "events that one listener may send at once after a silence")
	fs.DurationVar(&c.KeyFresh, prefix+"key-fresh", 10*time.Minute, "how long a listener's key is held in memory")
	fs.IntVar(&c.Remembered, prefix+"remembered", 100_000, "ids of diagnostics that are held to drop repeats")
}

// Validate refuses values that cannot work.
func (c *Config) Validate() error {
	switch {
	case c.Rate < 1 || c.Burst < maxEvents:
		return errors.New("rate must be positive and burst no smaller than a batch of 200")
	case c.KeyFresh < 0 || c.Remembered < 1:
		return errors.New("key-fresh must not be negative and remembered must be positive")
	}
	return nil
}
