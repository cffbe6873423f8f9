package gateway

import (
	"net/netip"
	"time"

	"github.com/segue-music/segue/internal/ratelimit"
)

// What is told apart: addresses, of which strangers have many, and accounts. Together 3 MB.
const (
	limitedAddresses = 1 << 17
	limitedAccounts  = 1 << 16
)

// limits count the requests of addresses and of accounts, by class of route.
type limits struct {
	byAddress, byAccount *ratelimit.Limiter
	rates                [classes]struct{ address, account ratelimit.Rate }
}

func newLimits(c Config, now time.Time) *limits {
	l := &limits{byAddress: ratelimit.New(now, limitedAddresses), byAccount: ratelimit.New(now, limitedAccounts)}
	for i, r := range c.Rates {
		l.rates[i].address = ratelimit.PerSecond(r.IP.PerSecond, r.IP.Burst)
		l.rates[i].account = ratelimit.PerSecond(r.User.PerSecond, r.User.Burst)
	}
	return l
}

// address counts one request; when it is one too many, retry is when the next will pass.
func (l *limits) address(now time.Time, c class, ip netip.Addr) (retry time.Duration, ok bool) {
	return l.byAddress.Take(now, l.byAddress.Address(uint8(c), ip), l.rates[c].address, 1)
}

func (l *limits) account(now time.Time, c class, user string) (retry time.Duration, ok bool) {
	return l.byAccount.Take(now, l.byAccount.Name(uint8(c), user), l.rates[c].account, 1)
}
