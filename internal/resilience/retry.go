package resilience

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/internal/overload"
	"github.com/segue-music/segue/internal/pause"
)

const (
	// callLimit is how long a call may take whose caller has set no limit.
	callLimit = 30 * time.Second
	// A callee has a little less time than its caller, so that its answer, that there was
	// not enough, still arrives: one of keepShare, keepMost at most.
	keepShare = 20
	keepMost  = 100 * time.Millisecond
	// triesMost are the tries of a call, with the first.
	triesMost = 3
	// The pause before a try is drawn from 0 to this, doubled each time (full jitter:
	// Brooker, Exponential backoff and jitter, 2015).
	pauseFirst = 20 * time.Millisecond
	// Of the calls of a caller to a service one in budgetShare may be a repeat, and in the
	// beginning budgetFirst.
	budgetShare = 10
	budgetFirst = 10
)

// Retry repeats calls of one caller to one service: those that no instance has seen, and
// those that may be repeated (their method says so) when an instance was not available.
// It also shortens the time of each call.
type Retry struct {
	service string
	metrics *Metrics

	mu   sync.Mutex
	left float64 // repeats
}

// NewRetry begins with a full budget.
func NewRetry(service string, m *Metrics) *Retry {
	return &Retry{service: service, metrics: m, left: budgetFirst}
}

var _ connect.Interceptor = (*Retry)(nil)

// WrapUnary implements connect.Interceptor.
func (r *Retry) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, cancel := shorten(ctx)
		defer cancel()
		r.earn()
		for try := 1; ; try++ {
			res, err := next(ctx, req)
			if err == nil || try == triesMost || !mayRepeat(req.Spec().IdempotencyLevel, err) || !r.spend() {
				return res, err
			}
			d := rand.N(pauseFirst << (try - 1)) //nolint:gosec // a draw, no secret
			if at, ok := ctx.Deadline(); (ok && time.Until(at) < d) || !pause.For(ctx, d) {
				return res, err
			}
			r.metrics.repeated(r.service)
		}
	}
}

// WrapStreamingClient implements connect.Interceptor: a stream is begun anew by who reads it.
func (r *Retry) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (r *Retry) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func shorten(ctx context.Context) (context.Context, context.CancelFunc) {
	at, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, callLimit)
	}
	return context.WithDeadline(ctx, at.Add(-min(time.Until(at)/keepShare, keepMost)))
}

// mayRepeat tells whether a failed call can be made again. One that the service itself
// refused with a time to wait is not, unless the instance was too busy to look at it:
// another one may not be.
func mayRepeat(level connect.IdempotencyLevel, err error) bool {
	if errors.Is(err, ErrNotSent) {
		return true
	}
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return false
	}
	if ce.Meta().Get(overload.Header) != "" {
		return true
	}
	return level != connect.IdempotencyUnknown && ce.Code() == connect.CodeUnavailable && len(ce.Details()) == 0
}

func (r *Retry) earn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = min(r.left+1.0/budgetShare, budgetFirst)
}

func (r *Retry) spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left < 1 {
		return false
	}
	r.left--
	return true
}
