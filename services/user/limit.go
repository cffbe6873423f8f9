package user

import (
	"context"
	"net/netip"
	"time"

	"github.com/segue-music/segue/internal/ratelimit"
)

// limitKeys are told apart: 1 MB. Who sprays names and addresses beyond it displaces
// those that have tried least.
const limitKeys = 1 << 16

// limited says what is counted.
type limited uint8

const (
	byAddress  limited = iota // attempts to sign in
	byName                    // failed ones on one name
	byRefusal                 // refusals that are recorded
	limitKinds                // how many there are
)

// limits count what is tried from addresses and on names, at all instances together where
// they share it.
type limits struct {
	keys  ratelimit.Joint
	now   func() time.Time
	rates [limitKinds]ratelimit.Rate
}

func newLimits(c Config, now func() time.Time, shared ratelimit.Shared) *limits {
	return &limits{keys: ratelimit.Joint{Local: ratelimit.New(now(), limitKeys), Shared: shared}, now: now, rates: [limitKinds]ratelimit.Rate{
		byAddress: ratelimit.Per(c.PerIP, time.Minute),
		byName:    ratelimit.Per(c.PerAccount, 10*time.Minute),
		byRefusal: ratelimit.Per(10, time.Minute),
	}}
}

// take takes one, or says how long to wait.
func (l *limits) take(ctx context.Context, what limited, who string) (wait time.Duration, ok bool) {
	return l.keys.Name(ctx, l.now(), uint8(what), who, l.rates[what], 1)
}

// giveBack undoes one take.
func (l *limits) giveBack(ctx context.Context, what limited, who string) {
	// Also where the client has gone meanwhile.
	l.keys.NameBack(context.WithoutCancel(ctx), l.now(), uint8(what), who, l.rates[what], 1)
}

// addressKey is what is counted of an address: an IPv6 customer has a /64.
func addressKey(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	return ratelimit.Network(a).String()
}
