package rpc

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
)

// ClientMetrics measure calls as their caller sees them: the way there and back counts,
// and so does a service that cannot be reached, which has no metrics of its own to tell.
type ClientMetrics struct{ duration *prometheus.HistogramVec }

// NewClientMetrics registers with reg.
func NewClientMetrics(reg prometheus.Registerer) (*ClientMetrics, error) {
	m := &ClientMetrics{prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "segue_rpc_client_duration_seconds", Help: "Time of calls to another service, in this process or another, as the caller sees it.",
		Buckets: []float64{.0005, .0025, .01, .05, .25, 1, 10},
	}, []string{"caller", "target", "code"})}
	return m, reg.Register(m.duration)
}

// Interceptor measures the unary calls of caller to target. A stream's time is its
// listener's, and says nothing.
func (m *ClientMetrics) Interceptor(caller, target string) connect.Interceptor {
	return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			start := time.Now()
			res, err := next(ctx, req)
			code := "ok"
			if err != nil {
				code = connect.CodeOf(err).String()
			}
			m.duration.WithLabelValues(caller, target, code).Observe(time.Since(start).Seconds())
			return res, err
		}
	})
}
