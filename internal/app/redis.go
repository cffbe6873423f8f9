package app

import (
	"context"
	"fmt"

	"github.com/segue-music/segue/internal/ratelimit"
	"github.com/segue-music/segue/internal/ratelimit/redislimit"
	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/services/playback"
	"github.com/segue-music/segue/services/user"
	userredis "github.com/segue-music/segue/services/user/redis"
)

// openRedis opens Redis where there is one. It is no part of readiness: everything goes on
// without it.
func (p *process) openRedis(context.Context) error {
	if !p.config.Redis.On() {
		return nil
	}
	c, err := redisdb.Open(p.config.Redis, redisdb.Options{Log: p.log, Metrics: p.metrics})
	if err != nil {
		return fmt.Errorf("open redis: %w", err)
	}
	p.redis = c
	p.closers = append(p.closers, c.Close)
	p.run("redis", c.Run)
	return nil
}

// limitedTogether are the keys whose leases an instance knows: 13 MB.
const limitedTogether = 1 << 16

// sharedLimits are those of all instances of a target; nil where each has its own.
func (p *process) sharedLimits(target string) ratelimit.Shared {
	if p.redis == nil {
		return nil
	}
	return redislimit.New(p.redis, target, limitedTogether)
}

// cacheUsers puts the cache of sign-ins and accounts before a store, where there is Redis.
func (p *process) cacheUsers(store user.Store) (user.Store, error) {
	if p.redis == nil {
		return store, nil
	}
	cached, err := userredis.New(store, p.redis, userredis.Options{Now: p.now, Log: p.log, Metrics: p.metrics})
	if err != nil {
		return nil, fmt.Errorf("cache users: %w", err)
	}
	p.run("user cache", cached.Run)
	return cached, nil
}

// playerNotices carries word of players between instances; nil where there is one.
func (p *process) playerNotices() playback.Notices {
	if p.redis == nil {
		return nil
	}
	return p.redis.Notices("segue:player:")
}
