package gateway

import (
	"context"
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
	byAddress, byAccount ratelimit.Joint
	rates                [classes]struct{ address, account ratelimit.Rate }
}

func newLimits(c Config, now time.Time, shared ratelimit.Shared) *limits {
	l := &limits{
		byAddress: ratelimit.Joint{Local: ratelimit.New(now, limitedAddresses), Shared: shared},
		byAccount: ratelimit.Joint{Local: ratelimit.New(now, limitedAccounts), Shared: shared},
	}
	for i, r := range c.Rates {
		l.rates[i].address = ratelimit.PerSecond(r.IP.PerSecond, r.IP.Burst)
		l.rates[i].account = ratelimit.PerSecond(r.User.PerSecond, r.User.Burst)
	}
	return l
}

// address counts one request; when it is one too many, retry is when the next will pass.
func (l *limits) address(ctx context.Context, now time.Time, c class, ip netip.Addr) (retry time.Duration, ok bool) {
	return l.byAddress.Address(ctx, now, uint8(c), ip, l.rates[c].address, 1)
}

func (l *limits) account(ctx context.Context, now time.Time, c class, user string) (retry time.Duration, ok bool) {
	return l.byAccount.Name(ctx, now, uint8(c), user, l.rates[c].account, 1)
}
