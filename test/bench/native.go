package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
	"github.com/segue-music/segue/test/person"
	"github.com/segue-music/segue/test/proc"
)

// native measures stream/client. A start is from the call to the first decrypted page.
type native struct {
	*meter
	config client.Config
}

// The names of the cases; the report knows their goals.
const (
	caseCold      = "cold: new connection, nothing known"
	caseEarly     = "0-RTT: new connection, session and address known"
	caseOpen      = "open connection"
	caseSeek      = "seek while playing"
	caseSeekBurst = "seek in the first burst (0.1 s after the start)"
	casePrefetch  = "next track, its head prefetched"
	caseOpenDisk  = "open connection, object not in the page cache"
)

func measureNative(ctx context.Context, s *spec) ([]result, error) {
	config, err := openSession(ctx, s)
	if err != nil {
		return nil, err
	}
	n := &native{meter: &meter{s, s.ServerPID}, config: config}
	var out []result
	add := func(name string, measure func() (result, error)) error {
		if !n.wanted(name) {
			return nil
		}
		r, err := measure()
		out = append(out, r)
		return err
	}
	err = errors.Join(
		add(caseRTT, func() (result, error) { return n.echo(ctx) }),
		add(caseCold, func() (result, error) { return n.cold(ctx) }),
		add(caseEarly, func() (result, error) { return n.early(ctx) }),
		add(caseOpen, func() (result, error) { return n.open(ctx, caseOpen, func() error { return nil }) }),
		add(caseOpenDisk, func() (result, error) { return n.open(ctx, caseOpenDisk, func() error { return evict(n.Data) }) }),
		add(caseSeek, func() (result, error) { return n.seek(ctx, caseSeek, seekAfter) }),
		add(caseSeekBurst, func() (result, error) { return n.seek(ctx, caseSeekBurst, 100*time.Millisecond) }),
		add(casePrefetch, func() (result, error) { return n.prefetched(ctx) }),
	)
	return out, err
}

// openSession opens a streaming session as an app does when it starts.
func openSession(ctx context.Context, s *spec) (client.Config, error) {
	trust, err := person.Trusting(s.CA)
	if err != nil {
		return client.Config{}, err
	}
	web := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}
	admin, err := person.SignIn(ctx, web, s.Segue, "admin", s.Password)
	if err != nil {
		return client.Config{}, err
	}
	session, err := admin.OpenSession(ctx, admin.Client(web), "bench", "bench")
	if err != nil {
		return client.Config{}, err
	}
	// The fallback has connections of its own: what the sign-in has opened is no start.
	return session.Config(web.Clone())
}

// ask makes a request for a track.
func (n *native) ask() (client.Request, error) {
	t, err := id.Parse(n.anySound())
	if err != nil {
		return client.Request{}, fmt.Errorf("read track: %w", err)
	}
	return client.Request{Track: t, PlayID: id.New(time.Now(), rand.Reader), Quality: wire.Kbps160}, nil
}

// first plays until the first page is there.
func first(ctx context.Context, s *client.Session, r client.Request) (*client.Stream, time.Duration, error) {
	start := time.Now()
	st, err := s.Play(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	if _, err := st.Next(); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("first page: %w", err), st.Close())
	}
	return st, time.Since(start), nil
}

// fresh makes a session for one start. Its end waits for what the server hands out for
// the next connection.
func (n *native) fresh(ctx context.Context, r *client.Resumption) (time.Duration, string, func(), error) {
	config := n.config
	config.Resumption = r
	req, err := n.ask()
	if err != nil {
		return 0, "", nil, err
	}
	s, err := client.Open(config)
	if err != nil {
		return 0, "", nil, err
	}
	st, d, err := first(ctx, s, req)
	if err != nil {
		return 0, "", nil, errors.Join(err, s.Close())
	}
	return d, st.Stats().Transport, func() {
		_ = st.Close()
		_ = n.silent(ctx) // the next one waits too
		_ = s.Close()
	}, nil
}

func (n *native) cold(ctx context.Context) (result, error) {
	return n.measureNoted(ctx, caseCold, func() (time.Duration, string, func(), error) {
		return n.fresh(ctx, client.NewResumption())
	})
}

func (n *native) early(ctx context.Context) (result, error) {
	r := client.NewResumption()
	_, _, end, err := n.fresh(ctx, r)
	if err != nil {
		return result{Name: caseEarly}, err
	}
	end()
	return n.measureNoted(ctx, caseEarly, func() (time.Duration, string, func(), error) { return n.fresh(ctx, r) })
}

// warm opens a session whose connection is open and has been used.
func (n *native) warm(ctx context.Context) (*client.Session, error) {
	s, err := client.Open(n.config)
	if err != nil {
		return nil, err
	}
	req, err := n.ask()
	if err != nil {
		return nil, err
	}
	st, _, err := first(ctx, s, req)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, st.Close()
}

// open starts on an open connection; before is run before each start.
func (n *native) open(ctx context.Context, name string, before func() error) (result, error) {
	s, err := n.warm(ctx)
	if err != nil {
		return result{Name: name}, err
	}
	defer s.Close()
	return n.measureNoted(ctx, name, func() (time.Duration, string, func(), error) {
		if err := before(); err != nil {
			return 0, "", nil, err
		}
		req, err := n.ask()
		if err != nil {
			return 0, "", nil, err
		}
		st, d, err := first(ctx, s, req)
		if err != nil {
			return 0, "", nil, err
		}
		return d, st.Stats().Transport, func() { _ = st.Close() }, nil
	})
}

// seek plays for a while and then wants another position, which is not buffered.
func (n *native) seek(ctx context.Context, name string, after time.Duration) (result, error) {
	s, err := n.warm(ctx)
	if err != nil {
		return result{Name: name}, err
	}
	defer s.Close()
	return n.measure(ctx, name, func() (time.Duration, func(), error) {
		req, err := n.ask()
		if err != nil {
			return 0, nil, err
		}
		old, _, err := first(ctx, s, req)
		if err != nil {
			return 0, nil, err
		}
		time.Sleep(after) // the listener listens
		req.From = seekTarget(n.TrackSeconds)
		start := time.Now()
		go func() { _ = old.Close() }()
		st, _, err := first(ctx, s, req)
		if err != nil {
			return 0, nil, err
		}
		return time.Since(start), func() { _ = st.Close() }, nil
	})
}

// prefetched fetches the head of the next track and then wants it: what counts is the
// time in which something had to come over the wire.
func (n *native) prefetched(ctx context.Context) (result, error) {
	s, err := n.warm(ctx)
	if err != nil {
		return result{Name: casePrefetch}, err
	}
	defer s.Close()
	const head = 2 * time.Second
	return n.measureNoted(ctx, casePrefetch, func() (time.Duration, string, func(), error) {
		req, err := n.ask()
		if err != nil {
			return 0, "", nil, err
		}
		req.Prefetch, req.Until, req.NoIndex = true, head, true
		st, err := s.Play(ctx, req)
		if err != nil {
			return 0, "", nil, err
		}
		if err := errors.Join(proc.Until(ctx, 5*time.Second, func() error {
			if st.Buffered() < head {
				return fmt.Errorf("%s of the head are there", st.Buffered())
			}
			return nil
		}), n.silent(ctx)); err != nil {
			return 0, "", nil, err
		}
		before := n.received()
		start := time.Now()
		st.Extend()
		if _, err := st.Next(); err != nil {
			return 0, "", nil, err
		}
		d := time.Since(start)
		waited := n.received().packets - before.packets
		return d, fmt.Sprintf("%d packets waited for", waited), func() { _ = st.Close() }, nil
	})
}
