// Package resilience carries calls to the instances of a service in other processes, and
// keeps the trouble of one instance from becoming everybody's: each call goes to the less
// busy of two, an instance that fails is left alone for a moment, and what may be repeated
// is tried once more elsewhere, within a budget.
package resilience

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// ErrNotSent marks a call that no instance has seen: repeating it repeats nothing.
var ErrNotSent = errors.New("no instance was reached")

const (
	// openFor is how long an instance that fails is left alone.
	openFor = 2 * time.Second
	// retryEvery is how often one that could not be reached is asked all the same, where
	// there is no other.
	retryEvery = 50 * time.Millisecond
	// An instance fails when half of its calls do, of at least so many in so long; one that
	// cannot be reached fails at once.
	failingCalls = 10
	failingSpan  = 10 * time.Second
)

// Instances are those of one service. It is an http.RoundTripper for requests to any host.
type Instances struct {
	service string
	next    http.RoundTripper
	resolve *resolver
	metrics *Metrics

	mu   sync.Mutex
	list []*instance
}

// instance is one process.
type instance struct {
	base    url.URL
	busy    atomic.Int64
	dead    atomic.Bool // not reached by the last call
	breaker atomic.Pointer[gobreaker.TwoStepCircuitBreaker[any]]
	retry   atomic.Int64 // when it may be asked although it could not be reached, in Unix nanoseconds
}

// NewInstances makes the way to the instances at the base URLs. A URL whose scheme begins
// with "dns+" stands for every address that its host has at the time.
func NewInstances(service string, bases []string, next http.RoundTripper, m *Metrics) (*Instances, error) {
	r, err := newResolver(bases)
	if err != nil {
		return nil, fmt.Errorf("instances of %s: %w", service, err)
	}
	m.begin(service)
	return &Instances{service: service, next: next, resolve: r, metrics: m}, nil
}

// RoundTrip implements http.RoundTripper. An instance that cannot be reached has not seen
// the call, which then goes to another one.
func (s *Instances) RoundTrip(req *http.Request) (*http.Response, error) {
	body := &untouched{ReadCloser: req.Body}
	if req.Body == nil || req.Body == http.NoBody {
		body.ReadCloser = http.NoBody
	}
	defer body.release()
	order, err := s.order(req.Context())
	if err != nil {
		return nil, fmt.Errorf("call %s: %w: %w", s.service, ErrNotSent, err)
	}
	for _, at := range order {
		done, e := at.breaker.Load().Allow()
		if e != nil {
			continue
		}
		var res *http.Response
		if res, err = s.try(req, at, body, done); err == nil {
			return res, nil
		}
		if !errors.Is(err, ErrNotSent) || body.read.Load() {
			return nil, err
		}
	}
	if res, err := s.anew(req, order, body); res != nil || err != nil {
		return res, err
	}
	if err == nil {
		s.metrics.refused(s.service)
		err = fmt.Errorf("call %s: %w: each of %d instances has failed lately", s.service, ErrNotSent, len(order))
	}
	return nil, err
}

// anew asks instances that could not be reached a moment ago, where no other is left: of
// two that are started again one after the other, the first is there by then. Nothing is
// returned where there is none, or it is too soon.
func (s *Instances) anew(req *http.Request, order []*instance, body *untouched) (*http.Response, error) {
	for _, at := range order {
		now, due := time.Now().UnixNano(), at.retry.Load()
		if !at.dead.Load() || (now < due && due-now <= int64(retryEvery)) || !at.retry.CompareAndSwap(due, now+int64(retryEvery)) {
			continue
		}
		res, err := s.try(req, at, body, func(error) {})
		if err == nil {
			at.breaker.Store(s.breaker(at)) // what it has failed was another process
			return res, nil
		}
		if !errors.Is(err, ErrNotSent) || body.read.Load() {
			return nil, err
		}
	}
	return nil, nil
}

// Each are the ways to single instances, to ask every one of them.
func (s *Instances) Each(ctx context.Context) ([]http.RoundTripper, error) {
	all, err := s.known(ctx)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w: %w", s.service, ErrNotSent, err)
	}
	var out []http.RoundTripper
	for _, at := range all {
		out = append(out, single{s, at})
	}
	return out, nil
}

type single struct {
	s  *Instances
	at *instance
}

// RoundTrip implements http.RoundTripper. The breaker learns of it and does not keep it from
// an instance that fails.
func (o single) RoundTrip(req *http.Request) (*http.Response, error) {
	body := &untouched{ReadCloser: http.NoBody}
	if req.Body != nil {
		body.ReadCloser = req.Body
	}
	defer body.release()
	done, err := o.at.breaker.Load().Allow()
	if err != nil {
		done = func(error) {}
	}
	return o.s.try(req, o.at, body, done)
}

// try sends a request to one instance.
func (s *Instances) try(req *http.Request, at *instance, body *untouched, done func(error)) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host, out.Host = at.base.Scheme, at.base.Host, ""
	if body.ReadCloser != http.NoBody {
		out.Body = body
	}
	at.busy.Add(1)
	res, err := s.next.RoundTrip(out)
	if err != nil {
		at.busy.Add(-1)
		missed := notReached(err) && req.Context().Err() == nil
		at.dead.Store(missed)
		done(verdict(req.Context(), err))
		if missed {
			return nil, fmt.Errorf("call %s: %w: %w", s.service, ErrNotSent, err)
		}
		return nil, fmt.Errorf("call %s: %w", s.service, err)
	}
	at.dead.Store(false)
	if unavailable(res) {
		done(errors.New(res.Status))
	} else {
		done(nil)
	}
	res.Body = &counted{ReadCloser: res.Body, at: at}
	return res, nil
}

// unavailable tells whether an answer speaks against the instance. A refusal with a time to
// wait does not: the service has looked at the request, as at one for a track that is being
// prepared, and another instance would say the same.
func unavailable(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	case http.StatusServiceUnavailable:
		return res.Header.Get("Retry-After") == ""
	}
	return false
}

// untouched is the body of a request: a transport that did not reach an instance closes
// it, and the next one is to have it whole.
type untouched struct {
	io.ReadCloser
	read   atomic.Bool
	closed atomic.Bool
}

func (u *untouched) Read(p []byte) (int, error) {
	u.read.Store(true)
	return u.ReadCloser.Read(p)
}

// Close closes what has been read; the rest is closed by release.
func (u *untouched) Close() error {
	u.closed.Store(true)
	if u.read.Load() {
		return u.ReadCloser.Close()
	}
	return nil
}

// release closes a body that a transport is done with and never read. One that is still
// being sent is closed by its transport.
func (u *untouched) release() {
	if u.closed.Load() && !u.read.Load() {
		_ = u.ReadCloser.Close() // nothing of it was wanted
	}
}

// notReached reports whether a request ended before there was a connection for it.
func notReached(err error) bool {
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	return (errors.As(err, &op) && op.Op == "dial") || errors.As(err, &cert)
}

// verdict is what an error says of the instance: a caller that gave up says nothing.
func verdict(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

// counted is an answer whose end frees its place.
type counted struct {
	io.ReadCloser
	at   *instance
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.at.busy.Add(-1) })
	return c.ReadCloser.Close()
}

// order is all instances, the less busy of two drawn ones first (Mitzenmacher, The power
// of two choices in randomized load balancing, 2001).
func (s *Instances) order(ctx context.Context) ([]*instance, error) {
	all, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	order := slices.Clone(all)
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] }) //nolint:gosec // a draw, no secret
	if len(order) > 1 && order[1].worse() < order[0].worse() {
		order[0], order[1] = order[1], order[0]
	}
	return order, nil
}

// worse orders instances: those that were not reached come last.
func (i *instance) worse() int64 {
	if i.dead.Load() {
		return 1 << 32
	}
	return i.busy.Load()
}

// known are the instances at this time; one that stays keeps its state.
func (s *Instances) known(ctx context.Context) ([]*instance, error) {
	bases, changed, err := s.resolve.get(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !changed && s.list != nil {
		return s.list, nil
	}
	var list []*instance
	for _, b := range bases {
		i := slices.IndexFunc(s.list, func(old *instance) bool { return old.base == b })
		if i >= 0 {
			list = append(list, s.list[i])
			continue
		}
		list = append(list, s.instance(b))
	}
	s.list = list
	s.metrics.instances(s.service, len(list))
	return list, nil
}

func (s *Instances) instance(base url.URL) *instance {
	at := &instance{base: base}
	at.breaker.Store(s.breaker(at))
	return at
}

func (s *Instances) breaker(at *instance) *gobreaker.TwoStepCircuitBreaker[any] {
	return gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name: s.service + " " + at.base.Host, Interval: failingSpan, Timeout: openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			if at.dead.Load() {
				return c.ConsecutiveFailures > 0
			}
			return c.Requests >= failingCalls && c.TotalFailures*2 >= c.Requests
		},
		OnStateChange: func(_ string, _, to gobreaker.State) { s.metrics.opened(s.service, to == gobreaker.StateOpen) },
	})
}
