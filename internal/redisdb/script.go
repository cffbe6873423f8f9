package redisdb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua script on one key, which is all it may touch: in a cluster another key
// may be elsewhere.
type Script struct {
	name string
	lua  *redis.Script
}

// NewScript makes a script whose text returns an array. Its name is a metric's label.
func NewScript(name, text string) Script {
	return Script{name, redis.NewScript("local call = table.remove(ARGV)\nlocal function run()\n" + text + "\nend\nlocal answer = run()\n" +
		"table.insert(answer, 1, call)\nreturn answer")}
}

// Do runs a script in Redis, once at most, and gives its array: strings, int64 and nil.
// An error says nothing about whether it ran, or will yet.
func (c *Client) Do(ctx context.Context, s Script, key string, args ...any) ([]any, error) {
	if !c.breaker.allows() {
		c.metrics.observe(s.name, outcomeAway, 0)
		return nil, ErrAway
	}
	return c.run(ctx, s, key, c.timeout, args)
}

// Insist is Do also while Redis is away, for what others would see wrongly without it.
func (c *Client) Insist(ctx context.Context, s Script, key string, args ...any) ([]any, error) {
	return c.run(ctx, s, key, c.timeout, args)
}

func (c *Client) run(ctx context.Context, s Script, key string, limit time.Duration, args []any) ([]any, error) {
	began := time.Now()
	conns := c.current()
	answer, err := c.ask(ctx, conns, s, key, limit, args)
	switch {
	case errors.Is(err, errStep):
		c.renew(conns)
		c.breaker.failed()
	case err != nil && ctx.Err() == nil: // the caller's own end says nothing about Redis
		c.breaker.failed()
	case err == nil:
		c.breaker.answered()
	}
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeFailed
		err = fmt.Errorf("redis script %s: %w", s.name, err)
	}
	c.metrics.observe(s.name, outcome, time.Since(began))
	return answer, err
}

func (c *Client) ask(ctx context.Context, conns redis.UniversalClient, s Script, key string, limit time.Duration, args []any) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	call := strconv.FormatUint(c.calls.Add(1), 36)
	all, err := s.lua.Run(ctx, conns, []string{key}, append(args[:len(args):len(args)], call)...).Result()
	if err != nil {
		return nil, err
	}
	answer, ok := all.([]any)
	if !ok || len(answer) == 0 || answer[0] != call {
		return nil, errStep
	}
	return answer[1:], nil
}
