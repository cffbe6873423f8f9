package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/test/person"
)

// crowd is all listeners of this process and what they count.
type crowd struct {
	spec     *spec
	trust    *tls.Config
	accounts []*person.Person
	tracks   [][16]byte

	socketsOnce sync.Once
	sockets     *sockets
	socketsErr  error

	joined, starts, seeks, renewed, underruns atomic.Uint64
	bytes, records, opened, events            atomic.Uint64

	mu       sync.Mutex
	all      []*listener
	errs     map[string]int
	starting []float64 // ms from PLAY to the first record
}

// counts is what the listeners have come to so far.
type counts struct {
	Joined, Starts, Seeks, Renewed, Underruns uint64
	Bytes, Records, Opened, Events            uint64
	Errors                                    map[string]int
	StartMillis                               []float64
	// Buffered is the least sound that any listener has ahead now, in seconds.
	Buffered float64
}

func listen(ctx context.Context, path string) error {
	s, err := readSpec(path)
	if err != nil {
		return err
	}
	c := &crowd{spec: s, errs: map[string]int{}}
	if c.trust, err = person.Trusting(s.CA); err != nil {
		return err
	}
	b, err := os.ReadFile(s.AccountsFile)
	if err != nil {
		return fmt.Errorf("read accounts: %w", err)
	}
	if err := json.Unmarshal(b, &c.accounts); err != nil {
		return fmt.Errorf("read accounts: %w", err)
	}
	for _, a := range c.accounts {
		a.Base = s.Segue // which may have another port since
	}
	for _, text := range s.Tracks {
		t, err := id.Parse(text)
		if err != nil {
			return fmt.Errorf("read tracks: %w", err)
		}
		c.tracks = append(c.tracks, t)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go c.obey(stop)
	var wg sync.WaitGroup
	for n := range s.Listeners {
		wg.Go(func() {
			// Staggered, so that neither joins nor the bursts of credit come together.
			if !sleep(ctx, s.Ramp*time.Duration(n)/time.Duration(s.Listeners)) {
				return
			}
			c.one(ctx, n)
		})
	}
	wg.Wait()
	// The new refresh tokens are those of the next run.
	if b, err = json.Marshal(c.accounts); err != nil {
		return fmt.Errorf("keep accounts: %w", err)
	}
	return os.WriteFile(s.AccountsFile, b, 0o600)
}

func (c *crowd) one(ctx context.Context, n int) {
	l, err := c.join(ctx, n)
	for try := 0; err != nil && ctx.Err() == nil && try < 5; try++ {
		c.failed(fmt.Errorf("join: %w", err))
		pause(ctx, time.Second)
		l, err = c.join(ctx, n)
	}
	if err != nil {
		say("listener %d has given up: %v", n, err)
		return
	}
	c.mu.Lock()
	c.all = append(c.all, l)
	c.mu.Unlock()
	c.joined.Add(1)
	l.run(ctx)
	l.link.close()
}

// obey answers each line of standard input with what has been counted, and ends with it.
func (c *crowd) obey(stop context.CancelFunc) {
	lines := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := out.Encode(c.count()); err != nil {
			break
		}
	}
	stop()
}

func (c *crowd) count() *counts {
	c.mu.Lock()
	all := slices.Clone(c.all)
	r := &counts{Errors: c.errs, StartMillis: c.starting, Buffered: -1}
	c.errs, c.starting = map[string]int{}, nil
	c.mu.Unlock()
	now := time.Now()
	for _, l := range all {
		l.mu.Lock()
		p := l.current
		l.mu.Unlock()
		if p == nil {
			continue
		}
		p.mu.Lock()
		p.check(now)
		if p.head != nil && !p.zero.IsZero() && !p.seeking && p.end < p.head.TotalSamples {
			ahead := float64(p.end)/float64(p.head.Rate) - p.position(now).Seconds()
			if r.Buffered < 0 || ahead < r.Buffered {
				r.Buffered = ahead
			}
		}
		p.mu.Unlock()
	}
	r.Joined, r.Starts, r.Seeks, r.Renewed = c.joined.Load(), c.starts.Load(), c.seeks.Load(), c.renewed.Load()
	r.Underruns, r.Bytes, r.Records, r.Opened, r.Events = c.underruns.Load(), c.bytes.Load(), c.records.Load(), c.opened.Load(), c.events.Load()
	return r
}

// failed counts an error by its text.
func (c *crowd) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs[fmt.Sprintf("%.160s", err.Error())]++
}

// took notes how long a start took.
func (c *crowd) took(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starting = append(c.starting, float64(d)/float64(time.Millisecond))
}

// dial connects listener n by the transport that is measured.
func (c *crowd) dial(ctx context.Context, n int, endpoints []*playbackv1.Endpoint) (link, error) {
	if len(endpoints) == 0 {
		return nil, fmt.Errorf("dial: no endpoint")
	}
	e := endpoints[0]
	base, err := url.Parse(c.spec.Segue)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	c.socketsOnce.Do(func() {
		c.sockets, c.socketsErr = openSockets(1+c.spec.Listeners/32, e.GetCertificateSha256(), base.Hostname())
	})
	if c.socketsErr != nil {
		return nil, c.socketsErr
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if c.spec.Transport == "webtransport" {
		at, err := url.Parse(e.GetWebtransport())
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		return c.sockets.dialWebTransport(ctx, n, base.ResolveReference(at).String(), c.spec.Segue)
	}
	host, port, err := net.SplitHostPort(e.GetQuic())
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if host == "" {
		host = base.Hostname()
	}
	return c.sockets.dialQUIC(ctx, n, net.JoinHostPort(host, port))
}
