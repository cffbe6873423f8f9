package charts

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/segue-music/segue/internal/blob"
)

// Where charts come from.
const (
	FromEvents = "events"
	FromSpark  = "spark"
)

// Config of the service.
type Config struct {
	Source, SparkPrefix string
	Keep                time.Duration
}

// RegisterFlags adds the settings under prefix.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Source, prefix+".source", FromEvents, "who counts plays: events is this service itself, spark the job of jobs/, whose charts are taken from the bucket")
	fs.StringVar(&c.SparkPrefix, prefix+".spark-prefix", "spark/plays/", "where the job writes, below blob.url; ends with /")
	fs.DurationVar(&c.Keep, prefix+".keep", 400*24*time.Hour, "how long charts are kept; a play that began before is not counted any more")
}

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	if c.Source != FromEvents && c.Source != FromSpark {
		return fmt.Errorf("source %q is not %s or %s", c.Source, FromEvents, FromSpark)
	}
	if c.Keep < 48*time.Hour {
		return errors.New("keep is below two days, and the chart of a day compares with the day before")
	}
	prefix, ok := strings.CutSuffix(c.SparkPrefix, "/")
	if err := blob.CheckKey(prefix); !ok || err != nil {
		return fmt.Errorf("spark-prefix %q is no folder of a bucket", c.SparkPrefix)
	}
	return nil
}
