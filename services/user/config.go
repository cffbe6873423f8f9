package user

import (
	"flag"
	"fmt"
	"regexp"
	"time"

	"github.com/segue-music/segue/internal/keyring"
)

// Config of the user service.
type Config struct {
	// Market and Plan of an account that is made without.
	Market, Plan string
	// PerIP and PerAccount bound sign-in attempts: a minute from one address, and failed
	// ones in ten minutes on one name.
	PerIP, PerAccount int
	// HashQueue is how many sign-ins may wait for a processor.
	HashQueue int
	// RefreshLife ends a sign-in, however often it is used.
	RefreshLife time.Duration
	// RotateKeys is the age at which the keys of tokens are replaced.
	RotateKeys time.Duration
	// PublishAhead is how long a key of access tokens is published before it signs.
	PublishAhead time.Duration
}

// RegisterFlags names the flags and sets the defaults.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Market, prefix+".market", "US", "market of an account made without one, ISO 3166-1 alpha-2")
	fs.StringVar(&c.Plan, prefix+".plan", "premium", "plan of a new account: free or premium; a server of one's own sells none")
	fs.IntVar(&c.PerIP, prefix+".login-per-ip", 30, "sign-in attempts a minute from one address")
	fs.IntVar(&c.PerAccount, prefix+".login-per-account", 10, "failed sign-ins in ten minutes on one name")
	fs.IntVar(&c.HashQueue, prefix+".hash-queue", 64, "sign-ins that may wait for a processor before more are refused")
	fs.DurationVar(&c.RefreshLife, prefix+".refresh-life", 90*24*time.Hour, "time after which one must sign in again, whatever happens")
	fs.DurationVar(&c.PublishAhead, prefix+".publish-ahead", 24*time.Hour, "time for which a key of access tokens is published before it signs")
	fs.DurationVar(&c.RotateKeys, prefix+".rotate-keys", 30*24*time.Hour, "age at which the keys of tokens are replaced")
}

// market is ISO 3166-1 alpha-2 in form.
const market = `^[A-Z]{2}$`

// Check refuses what cannot work.
func (c *Config) Check() error {
	if ok, err := regexp.MatchString(market, c.Market); err != nil || !ok {
		return fmt.Errorf("market %q is not two capital letters", c.Market)
	}
	switch {
	case c.Plan != "free" && c.Plan != "premium":
		return fmt.Errorf("plan %q is neither free nor premium", c.Plan)
	case c.PerIP < 1, c.PerAccount < 1, c.HashQueue < 0:
		return fmt.Errorf("limits of sign-in must be at least 1")
	case c.RefreshLife < time.Hour, c.RefreshLife > 90*24*time.Hour:
		return fmt.Errorf("refresh life %s is not between an hour and 90 days", c.RefreshLife)
	case c.PublishAhead < keyring.Ahead, c.PublishAhead > 24*time.Hour:
		return fmt.Errorf("keys cannot be published %s ahead: from %s to a day", c.PublishAhead, keyring.Ahead)
	case c.RotateKeys < 48*time.Hour, c.RotateKeys > 90*24*time.Hour:
		return fmt.Errorf("keys cannot rotate every %s: from two days to 90", c.RotateKeys)
	}
	return nil
}
