package redisdb

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// Notices carries word between instances: what one tells of a name reaches the others that
// follow it, at once and at most once. One that follows is also told when it may have
// missed some, which is whenever the connection is new; a word that is lost on a
// connection that lasts is not noticed. Nothing here blocks or fails.
type Notices struct {
	client *Client
	prefix string
	self   string // begins what this instance tells, which is not for itself

	mu       sync.Mutex
	followed map[string]bool
	changed  map[string]bool // to be followed or no longer, since it was last told to Redis
	tidings  map[string]string
	wakeTell chan struct{}
	wakeRead chan struct{}
}

// maxTidings bounds what waits to be told.
const maxTidings = 10_000

// Notices makes notices whose channels begin with prefix.
func (c *Client) Notices(prefix string) *Notices {
	return &Notices{
		client: c, prefix: prefix, self: rand.Text() + " ", followed: map[string]bool{}, changed: map[string]bool{}, tidings: map[string]string{},
		wakeTell: make(chan struct{}, 1), wakeRead: make(chan struct{}, 1),
	}
}

// Tell has those who follow the name told text. Of several that wait for one name the last
// is told. With too many waiting it is dropped.
func (n *Notices) Tell(name, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, waits := n.tidings[name]; !waits && len(n.tidings) >= maxTidings {
		return
	}
	n.tidings[name] = text
	wake(n.wakeTell)
}

// Follow asks for what is told of a name, until Unfollow.
func (n *Notices) Follow(name string) { n.set(name, true) }

// Unfollow ends Follow.
func (n *Notices) Unfollow(name string) { n.set(name, false) }

func (n *Notices) set(name string, follow bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if follow {
		n.followed[name] = true
	} else {
		delete(n.followed, name)
	}
	n.changed[name] = follow
	wake(n.wakeRead)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run carries until ctx ends, which is no error. got is called with what was told, one at
// a time, and with an empty text when the name is followed anew and some may be missed.
func (n *Notices) Run(ctx context.Context, got func(name, text string)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { n.send(ctx); return nil })
	g.Go(func() error {
		for ctx.Err() == nil {
			n.listen(ctx, got)
			select {
			case <-ctx.Done():
			case <-time.After(firstPause):
			}
		}
		return nil
	})
	return g.Wait()
}

//nolint:gochecknoglobals // never changes
var publish = NewScript("notice", `redis.call("PUBLISH", KEYS[1], ARGV[1]) return {}`)

// send tells what waits. While Redis is away it forgets it: who follows will be told that
// it has missed some.
func (n *Notices) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wakeTell:
		}
		n.mu.Lock()
		tidings := n.tidings
		n.tidings = map[string]string{}
		n.mu.Unlock()
		for name, text := range tidings {
			// A failure is counted, and repaired by those who follow.
			_, _ = n.client.Do(ctx, publish, n.prefix+name, n.self+text)
		}
	}
}

const (
	pingEvery = time.Second
	// silence is when a connection on which pings are not answered is given up.
	silence = 3 * time.Second
	// together is how many names are followed by one command.
	together = 500
)

// listen follows on one connection until that fails.
func (n *Notices) listen(ctx context.Context, got func(name, text string)) {
	if n.client.Away() {
		return
	}
	sub := n.client.current().Subscribe(ctx)
	n.mu.Lock()
	clear(n.changed)
	for name := range n.followed {
		n.changed[name] = true
	}
	wake(n.wakeRead)
	n.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	// Closed as soon as one side ends: a read of it heeds no context.
	context.AfterFunc(ctx, func() { _ = sub.Close() })
	g.Go(func() error { return n.follow(ctx, sub) })
	g.Go(func() error { return n.receive(ctx, sub, got) })
	_ = g.Wait() // the next connection follows
}

// follow tells Redis of what is to be followed, and that it is expected to answer.
func (n *Notices) follow(ctx context.Context, sub *redis.PubSub) error {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		case <-n.wakeRead:
		}
		n.mu.Lock()
		var add, remove []string
		for name, follow := range n.changed {
			if follow {
				add = append(add, n.prefix+name)
			} else {
				remove = append(remove, n.prefix+name)
			}
		}
		clear(n.changed)
		n.mu.Unlock()
		if err := errors.Join(each(add, func(l []string) error { return sub.Subscribe(ctx, l...) }),
			each(remove, func(l []string) error { return sub.Unsubscribe(ctx, l...) })); err != nil {
			return err
		}
	}
}

// each does what it is given for some of the list at a time.
func each(list []string, do func([]string) error) error {
	for len(list) > 0 {
		n := min(len(list), together)
		if err := do(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

func (n *Notices) receive(ctx context.Context, sub *redis.PubSub, got func(name, text string)) error {
	for {
		m, err := sub.ReceiveTimeout(ctx, silence)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *redis.Message:
			if _, text, ok := strings.Cut(m.Payload, " "); ok && !strings.HasPrefix(m.Payload, n.self) {
				got(m.Channel[len(n.prefix):], text)
			}
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				got(m.Channel[len(n.prefix):], "")
			}
		}
	}
}
