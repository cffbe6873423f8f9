package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/segue-music/segue/edge/gateway"
	"github.com/segue-music/segue/internal/span"
)

const clientTrace = "4bf92f3577b34da6a3ce929d0e0e4736"

// TestTrace: the act that a client names goes on to the service, but nothing else that it
// may write there; whatever is malformed is no act, and the request gets one of its own.
func TestTrace(t *testing.T) {
	x := newWorld(t)
	const good = "00-" + clientTrace + "-00f067aa0ba902b7-01"
	for name, c := range map[string]struct {
		header http.Header
		goes   bool
	}{
		"named":     {http.Header{"Traceparent": {good}, "Tracestate": {"x=" + strings.Repeat("y", 8<<10)}}, true},
		"twice":     {http.Header{"Traceparent": {good, good}}, false},
		"malformed": {http.Header{"Traceparent": {good[:54]}}, false},
		"oversized": {http.Header{"Traceparent": {good + strings.Repeat("0", 8<<10)}}, false},
		"lines":     {http.Header{"Traceparent": {strings.ReplaceAll(good, "-", "\t")}}, false},
		"zero":      {http.Header{"Traceparent": {"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01"}}, false},
		"none":      {http.Header{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/.well-known/openid-configuration", nil)
			r.Header = c.header
			w := httptest.NewRecorder()
			x.gw.Handler().ServeHTTP(w, r)
			took := x.took()
			if w.Code != http.StatusOK || len(took) != 1 {
				t.Fatalf("status %d, %d requests", w.Code, len(took))
			}
			sc, ok := span.Parse(took[0].header.Get(span.Header))
			if !ok || (sc.TraceID().String() == clientTrace) != c.goes {
				t.Errorf("the service is told %q", took[0].header.Get(span.Header))
			}
			if ok && strings.Contains(took[0].header.Get(span.Header), "00f067aa0ba902b7") {
				t.Error("the client's span goes on, too")
			}
			if took[0].header.Get("Tracestate") != "" {
				t.Error("tracestate goes on")
			}
		})
	}
}

// TestTrace_Errors: a failure leaves a span although its trace is not kept; and no span
// says who it was.
func TestTrace_Errors(t *testing.T) {
	mem := tracetest.NewInMemoryExporter()
	never := sdktrace.NewTracerProvider(sdktrace.WithSyncer(mem), sdktrace.WithSampler(marked{}))
	x := newWorld(t, func(d *gateway.Deps) { d.Tracer = never })
	x.answer = func(_ string, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/jwks.json" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "x")
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/jwks.json"} {
		r := httptest.NewRequest(http.MethodGet, path+"?token=secret", nil)
		r.Header.Set("Authorization", "Bearer secret")
		r.Header.Set("User-Agent", "secret")
		r.Header.Set(span.Header, "00-"+clientTrace+"-00f067aa0ba902b7-01")
		x.gw.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	spans := mem.GetSpans()
	if len(spans) != 1 || spans[0].SpanContext.TraceID().String() != clientTrace || spans[0].Status.Code.String() != "Error" || spans[0].Parent.IsValid() {
		t.Fatalf("spans %+v", spans)
	}
	for _, a := range spans[0].Attributes {
		if v := a.Value.String(); strings.Contains(v, "secret") || strings.Contains(v, "192.0.2.1") {
			t.Errorf("%s is %q", a.Key, v)
		}
	}
}

// marked keeps only what is marked to be kept.
type marked struct{}

func (marked) Description() string { return "marked" }
func (marked) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	for _, a := range p.Attributes {
		if a.Key == span.Kept {
			return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
		}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}
