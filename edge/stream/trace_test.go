package stream_test

import (
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/conformance"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
)

// TestTrace: the trace of a PLAY is its play id, what is asked for it is below it, and the
// span says how it ended, also when it was refused. A prefetch is followed as any other.
func TestTrace(t *testing.T) {
	e := newEdge(t, conformance.NewWorld(t, 30))
	mem := tracetest.NewInMemoryExporter()
	e.stop()
	e.deps.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(mem))
	e.start()
	s := openSession(t, e.config())
	heard, ahead, refused := id.ID{1, 15: 1}, id.ID{2, 15: 1}, id.ID{3, 15: 1}
	listen(t, s, client.Request{Track: e.p.w.Track, PlayID: heard, Quality: wire.Kbps160, Until: time.Second})
	listen(t, s, client.Request{Track: e.p.w.Track, PlayID: ahead, Quality: wire.Kbps96, Until: time.Second, Prefetch: true})
	if _, err := s.Play(t.Context(), client.Request{Track: id.ID{99}, PlayID: refused}); !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
		t.Fatalf("a track that is not known: %v", err)
	}
	for _, c := range []struct {
		play     id.ID
		code     string
		prefetch bool
		kbps     int64
		below    []string
	}{
		{heard, "OK", false, 160, []string{"/segue.playback.v1.StreamService/ResolvePlay", "PLAY stream"}},
		{ahead, "OK", true, 96, []string{"/segue.playback.v1.StreamService/ResolvePlay", "PLAY stream"}},
		{refused, "NOT_FOUND", false, 0, []string{"/segue.playback.v1.StreamService/ResolvePlay"}},
	} {
		var byName map[string]tracetest.SpanStub
		waitFor(t, "the spans of a play", func() bool {
			byName = map[string]tracetest.SpanStub{}
			for _, s := range mem.GetSpans() {
				if s.SpanContext.TraceID() == trace.TraceID(c.play) {
					byName[s.Name] = s
				}
			}
			return len(byName) >= 1+len(c.below)
		})
		play := byName["PLAY"]
		got := map[attribute.Key]attribute.Value{}
		for _, a := range play.Attributes {
			got[a.Key] = a.Value
		}
		if got["segue.code"].AsString() != c.code || got["segue.transport"].AsString() != "quic" || got["segue.prefetch"].AsBool() != c.prefetch ||
			got["segue.quality_kbps"].AsInt64() != c.kbps || play.Parent.HasSpanID() {
			t.Errorf("PLAY %x: %v", c.play[:1], play.Attributes)
		}
		if len(play.Events) == 0 || play.Events[0].Name != "ticket is genuine" {
			t.Errorf("PLAY %x: events %v", c.play[:1], play.Events)
		}
		for _, name := range c.below {
			if byName[name].Parent.SpanID() != play.SpanContext.SpanID() {
				t.Errorf("PLAY %x: %s is not below it: %v", c.play[:1], name, byName)
			}
		}
	}
}
