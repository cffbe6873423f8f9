package rpc_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"connectrpc.com/connect"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"net/http"
	"net/http/httptest"

	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/span"
)

// tracedCalls makes a service and two clients of it, in process and over a socket.
func tracedCalls(tb testing.TB, tp trace.TracerProvider, a *audit) map[string]warehousev1connect.AuditServiceClient {
	tb.Helper()
	ring, err := keyring.Open(tb.TempDir(), time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	tokens, log := rpc.NewTokens(ring, time.Now), slog.New(slog.DiscardHandler)
	server, err := rpc.NewServer(rpc.ServerDeps{Tokens: tokens, Log: log, Tracer: tp, Now: time.Now})
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(warehousev1connect.NewAuditServiceHandler(a, server.Options()...))
	h := server.Authenticate("warehouse", mux)
	remote := httptest.NewServer(h)
	tb.Cleanup(remote.Close)
	client := func(rt http.RoundTripper, base string) warehousev1connect.AuditServiceClient {
		c := &rpc.Client{Self: "gateway", Audience: "warehouse", Tokens: tokens, Transport: rt}
		return warehousev1connect.NewAuditServiceClient(c, base, connect.WithInterceptors(rpc.ClientInterceptor()))
	}
	return map[string]warehousev1connect.AuditServiceClient{
		"in_process": client(&rpc.InProcess{Handler: h, Log: log}, "http://warehouse"), "remote": client(http.DefaultTransport, remote.URL),
	}
}

// TestTrace: the handler is in the trace of the call, and its span below the caller's,
// the same way in process and between processes; where nothing is sent the id is there.
func TestTrace(t *testing.T) {
	for _, on := range []bool{true, false} {
		mem := tracetest.NewInMemoryExporter()
		var tp trace.TracerProvider
		if on {
			tp = sdktrace.NewTracerProvider(sdktrace.WithSyncer(mem))
		}
		var seen string
		a := &audit{flush: func(ctx context.Context) error { seen = span.TraceID(ctx); return nil }}
		for name, c := range tracedCalls(t, tp, a) {
			mem.Reset()
			ctx, root := span.NewTracer(tp).Start(identity.With(t.Context(), admin()), "act")
			if _, err := c.FlushLake(ctx, &warehousev1.FlushLakeRequest{}); err != nil {
				t.Fatal(err)
			}
			root.End()
			if seen == "" || seen != span.TraceID(ctx) {
				t.Errorf("%s, on %v: the handler is in trace %q, the caller in %q", name, on, seen, span.TraceID(ctx))
			}
			spans := mem.GetSpans()
			if !on {
				if len(spans) != 0 {
					t.Errorf("%s: %d spans without a provider", name, len(spans))
				}
				continue
			}
			if len(spans) != 3 {
				t.Fatalf("%s: %d spans", name, len(spans))
			}
			server, client := spans[0], spans[1]
			if server.SpanKind != trace.SpanKindServer {
				server, client = client, server
			}
			if server.Name != "segue.warehouse.v1.AuditService/FlushLake" || server.Parent.SpanID() != client.SpanContext.SpanID() ||
				client.Parent.SpanID() != root.SpanContext().SpanID() {
				t.Errorf("%s: spans %+v", name, spans)
			}
		}
	}
}

// TestTrace_Stranger: who has no token is in nobody's trace.
func TestTrace_Stranger(t *testing.T) {
	ring, err := keyring.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	server, err := rpc.NewServer(rpc.ServerDeps{Tokens: rpc.NewTokens(ring, time.Now), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	const forged = "4bf92f3577b34da6a3ce929d0e0e4736"
	h := server.Authenticate("warehouse", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if id := span.TraceID(r.Context()); id == forged || id == "" {
			t.Errorf("in trace %q", id)
		}
	}))
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	req.Header.Set(span.Header, "00-"+forged+"-00f067aa0ba902b7-01")
	h.ServeHTTP(httptest.NewRecorder(), req)
}

// BenchmarkCall is one call in process: without a provider, with one that does not keep
// the trace, and with one that does.
func BenchmarkCall(b *testing.B) {
	drop := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	keep := sdktrace.NewTracerProvider(sdktrace.WithBatcher(tracetest.NewNoopExporter()))
	for _, v := range []struct {
		name string
		tp   trace.TracerProvider
	}{{"off", nil}, {"not_kept", drop}, {"kept", keep}} {
		b.Run(v.name, func(b *testing.B) {
			c := tracedCalls(b, v.tp, &audit{flush: func(context.Context) error { return nil }})["in_process"]
			ctx := identity.With(b.Context(), admin())
			b.ReportAllocs()
			for b.Loop() {
				ctx, root := span.NewTracer(v.tp).Start(ctx, "act")
				if _, err := c.FlushLake(ctx, &warehousev1.FlushLakeRequest{}); err != nil {
					b.Fatal(err)
				}
				root.End()
			}
		})
	}
}
