package resilience

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// resolveEvery is how often names are looked up, as calls come.
	resolveEvery = 5 * time.Second
	resolveLimit = 2 * time.Second
)

// resolver turns base URLs into those of single instances.
type resolver struct {
	fixed  []url.URL
	named  []url.URL // to be looked up
	lookup func(ctx context.Context, host string) ([]string, error)

	mu      sync.Mutex
	found   []url.URL
	all     []url.URL // fixed and found; never changed in place
	next    time.Time
	running chan struct{} // closed when the look-up under way is over
	err     error
	news    bool
}

const named = "dns+"

func newResolver(bases []string) (*resolver, error) {
	r := &resolver{lookup: net.DefaultResolver.LookupHost, news: true}
	for _, b := range bases {
		rest, look := strings.CutPrefix(b, named)
		u, err := url.Parse(rest)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, fmt.Errorf("%q is not http://host:port, https://host:port or one of them with %s before it", b, named)
		}
		if look {
			r.named = append(r.named, *u)
		} else {
			r.fixed = append(r.fixed, *u)
		}
	}
	if len(bases) == 0 {
		return nil, errors.New("no URL")
	}
	r.all = r.fixed
	return r, nil
}

// get is the instances now; changed says that they are others than before. Names are
// looked up beside the calls: only the first waits for it.
func (r *resolver) get(ctx context.Context) (list []url.URL, changed bool, err error) {
	r.mu.Lock()
	if len(r.named) > 0 && r.running == nil && !time.Now().Before(r.next) {
		r.running = make(chan struct{})
		go r.renew(context.WithoutCancel(ctx))
	}
	running, first := r.running, r.found == nil
	r.mu.Unlock()
	if running != nil && first {
		select {
		case <-running:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		return nil, false, fmt.Errorf("look up: %w", r.err)
	}
	changed, r.news = r.news, false
	return r.all, changed, nil
}

// renew looks the names up. One that cannot be looked up keeps what was known.
func (r *resolver) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	var found []url.URL
	var err error
	for _, u := range r.named {
		hosts, e := r.lookup(ctx, u.Hostname())
		err = errors.Join(err, e)
		slices.Sort(hosts)
		for _, h := range hosts {
			at := u
			if at.Host = h; u.Port() != "" {
				at.Host = net.JoinHostPort(h, u.Port())
			}
			found = append(found, at)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	if err == nil && len(found) == 0 {
		r.err = errors.New("the name has no address")
	}
	if r.err == nil && !slices.Equal(found, r.found) {
		r.found, r.all, r.news = found, slices.Concat(r.fixed, found), true
	}
	r.next = time.Now().Add(resolveEvery)
	close(r.running)
	r.running = nil
}
