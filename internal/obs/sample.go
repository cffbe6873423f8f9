package obs

import (
	"math"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/segue-music/segue/internal/span"
)

// Bounds of the traces that a process begins to keep, a second. A trace's id may be a
// stranger's choice (a traceparent, a play id), and so may be that it falls into the
// share kept; nobody makes a process keep more than these.
const (
	mostBegun = 500
	mostKept  = 5 // of those kept because of what they are
)

// sampler decides at the first span of a trace in this process.
//
// A span with a parent does as the parent: it comes from a service whose token was
// checked, or from a job's own row. The first of a trace is kept when its id falls into
// the share, which every process finds alike; when it links to one that is kept; when it
// is marked by [span.Kept]; or when the client asks for it, at a bounded rate.
type sampler struct {
	share              sdktrace.Sampler
	begun, asked, kept *rate.Limiter
}

func newSampler(share, asked float64) *sampler {
	return &sampler{
		share: sdktrace.TraceIDRatioBased(share),
		begun: rate.NewLimiter(mostBegun, 2*mostBegun),
		asked: rate.NewLimiter(rate.Limit(asked), int(math.Ceil(10*asked))),
		kept:  rate.NewLimiter(mostKept, 10*mostKept),
	}
}

// Description implements sdktrace.Sampler.
func (s *sampler) Description() string { return "Segue" }

// ShouldSample implements sdktrace.Sampler.
func (s *sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	keep := false
	switch {
	case parent.IsValid():
		keep = parent.IsSampled()
	case marked(p) || linked(p):
		keep = s.kept.Allow()
	case s.share.ShouldSample(p).Decision == sdktrace.RecordAndSample:
		keep = s.begun.Allow()
	case parent.IsSampled(): // a client's word
		keep = s.asked.Allow()
	}
	if keep {
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}

func marked(p sdktrace.SamplingParameters) bool {
	for _, a := range p.Attributes {
		if a.Key == span.Kept {
			return true
		}
	}
	return false
}

func linked(p sdktrace.SamplingParameters) bool {
	for _, l := range p.Links {
		if l.SpanContext.IsSampled() {
			return true
		}
	}
	return false
}
