// Package redisdb reaches Redis, which only ever holds what can be rebuilt: when it is
// away, its callers do without it and nobody sees an error.
//
// Redis runs scripts and carries notices, nothing else. A call ends within a few
// milliseconds; after some that failed, calls fail at once, without touching the network,
// until a probe in the background has been answered as fast as a call must be.
//
// Each script's answer names the call that it answers. One that names another call is of
// a connection that has lost step, by an answer that was sent twice for instance, and
// would give one listener what is another's: then all connections are made anew.
package redisdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

var (
	// ErrAway says that Redis is not asked, since it did not answer lately.
	ErrAway = errors.New("redis is away")
	errStep = errors.New("answer is of another call")
)

// Options of Open. Metrics may be nil.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Client reaches one Redis, a single server or a cluster. It is safe for concurrent use.
// Redis counts as away until Run has found it.
type Client struct {
	open    func() redis.UniversalClient
	timeout time.Duration
	log     *slog.Logger
	metrics *metrics
	calls   atomic.Uint64
	breaker *breaker

	mu     sync.RWMutex // held while conns is replaced
	conns  redis.UniversalClient
	closed bool
}

// Open makes a client; nothing is asked of Redis yet.
func Open(c Config, o Options) (*Client, error) {
	settings, err := c.settings()
	if err != nil {
		return nil, fmt.Errorf("set up redis: %w", err)
	}
	redis.SetLogger(driverLog{o.Log}) // the driver has one for all clients, and would print
	open := func() redis.UniversalClient { return redis.NewUniversalClient(settings) }
	cl := &Client{open: open, conns: open(), timeout: c.Timeout, log: o.Log, breaker: newBreaker()}
	if cl.metrics, err = newMetrics(o.Metrics, cl); err != nil {
		return nil, fmt.Errorf("register redis metrics: %w", err)
	}
	return cl, nil
}

// Close ends the connections; what is under way fails.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.conns.Close()
}

// Away tells whether calls fail at once.
func (c *Client) Away() bool { return !c.breaker.allows() }

// current are the connections in use.
func (c *Client) current() redis.UniversalClient {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.conns
}

// renew replaces connections of which one has lost step.
func (c *Client) renew(bad redis.UniversalClient) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns != bad || c.closed {
		return // somebody was first
	}
	c.conns = c.open()
	if err := bad.Close(); err != nil {
		c.log.Warn("close connections to redis", "err", err)
	}
}

// Run looks for Redis for as long as it is away, until ctx ends, which is no error.
func (c *Client) Run(ctx context.Context) error {
	for away := time.Now(); ; away = time.Now() {
		if !c.find(ctx) {
			return nil
		}
		c.log.InfoContext(ctx, "redis is there", "after", time.Since(away).Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-c.breaker.opened:
			c.log.WarnContext(ctx, "redis is away: limits, caches and notices do without it")
		}
	}
}

// The pauses between probes.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
	// calm is how long Redis must have been there for the pauses to begin anew.
	calm = 10 * time.Second
	// connecting is the time for a connection, its TLS and sign-in included.
	connecting = 2 * time.Second
)

// find probes until Redis answers; false when ctx has ended.
func (c *Client) find(ctx context.Context) bool {
	for ctx.Err() == nil {
		if err := c.probe(ctx); err == nil {
			c.breaker.close(time.Now())
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.breaker.pause(time.Now())):
		}
	}
	return false
}

// probe asks twice: the first answer may take as long as a connection does, the second
// must come in the time of a call.
func (c *Client) probe(ctx context.Context) error {
	_, err := c.run(ctx, probe, probeKey, connecting, nil)
	if err == nil {
		_, err = c.run(ctx, probe, probeKey, c.timeout, nil)
	}
	return err
}

var probe = NewScript("probe", `return {}`) //nolint:gochecknoglobals // never changes

// probeKey says to which node of a cluster the probe goes.
const probeKey = "segue:probe"

// driverLog takes what the driver would print about its pool. The caller of what has failed
// knows it as well.
type driverLog struct{ log *slog.Logger }

func (d driverLog) Printf(ctx context.Context, format string, v ...any) {
	if d.log.Enabled(ctx, slog.LevelDebug) {
		d.log.DebugContext(ctx, "redis driver", "says", fmt.Sprintf(format, v...))
	}
}
