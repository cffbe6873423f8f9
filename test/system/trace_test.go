//go:build system

package system

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// TestTrace: of a start of a track, and of an upload, one trace tells from the request to
// the row of the lake, whichever process did what.
func TestTrace(t *testing.T) {
	for name, start := range map[string]func(*testing.T, ...string) *deployment{"one_process": single, "process_per_service": cluster} {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t)
			d := start(t, "-obs.trace-url="+c.url, "-obs.trace-rate=1", "-obs.log-format=json")
			d.login()
			track := tracedUpload(d, c)
			tracedPlay(d, c, track)
			noPersonalData(d, c)
		})
	}
}

// tracedSpan is a span and the process that sent it.
type tracedSpan struct {
	*tracev1.Span
	service string
}

// collector takes OTLP/HTTP.
type collector struct {
	url   string
	mu    sync.Mutex
	spans []tracedSpan
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var req collectorv1.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &req)
		}
		if err != nil {
			t.Errorf("spans: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, rs := range req.GetResourceSpans() {
			service := attribute(rs.GetResource().GetAttributes(), "service.name")
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					c.spans = append(c.spans, tracedSpan{s, service})
				}
			}
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	c.url = srv.URL
	return c
}

func attribute(all []*commonv1.KeyValue, key string) string {
	for _, a := range all {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

func (c *collector) all() []tracedSpan {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// of are the spans of a trace.
func (c *collector) of(trace string) (out []tracedSpan) {
	for _, s := range c.all() {
		if hex.EncodeToString(s.GetTraceId()) == trace {
			out = append(out, s)
		}
	}
	return out
}

// spans waits until a trace has spans of these names, and returns all it has then.
func (d *deployment) spans(c *collector, trace string, names ...string) []tracedSpan {
	d.Helper()
	var got []tracedSpan
	d.until(30*time.Second, "spans of trace "+trace, func() error {
		got = c.of(trace)
		for _, name := range names {
			if !slices.ContainsFunc(got, func(s tracedSpan) bool { return s.GetName() == name }) {
				var have []string
				for _, s := range got {
					have = append(have, s.service+" "+s.GetName())
				}
				return errorf("no %q in %q", name, have)
			}
		}
		return nil
	})
	return got
}

func named(spans []tracedSpan, name string) tracedSpan {
	for _, s := range spans {
		if s.GetName() == name {
			return s
		}
	}
	return tracedSpan{}
}

// below reports whether a span is a descendant of another.
func below(spans []tracedSpan, s, ancestor tracedSpan) bool {
	for range spans {
		if string(s.GetParentSpanId()) == string(ancestor.GetSpanId()) {
			return true
		}
		i := slices.IndexFunc(spans, func(p tracedSpan) bool { return string(p.GetSpanId()) == string(s.GetParentSpanId()) })
		if i < 0 {
			return false
		}
		s = spans[i]
	}
	return false
}

// from fails unless each name is a span of the process of its target.
func (d *deployment) from(spans []tracedSpan, want map[string]string) {
	d.Helper()
	for name, target := range want {
		if len(d.procs) == 1 {
			target = "all"
		}
		if s := named(spans, name); s.service != "segue-"+target {
			d.Errorf("span %q is of %q, want segue-%s", name, s.service, target)
		}
	}
}

// rowsOf are the types of a trace's rows in the lake.
func (d *deployment) rowsOf(trace string) (types []string) {
	d.Helper()
	d.must("events", "flush")
	for _, name := range d.lakeFiles() {
		rows, err := parquet.ReadFile[struct {
			Type    string `parquet:"type"`
			TraceID string `parquet:"trace_id"`
		}](name)
		if err != nil {
			d.Fatalf("%s: %v", name, err)
		}
		for _, r := range rows {
			if r.TraceID == trace {
				types = append(types, r.Type)
			}
		}
	}
	return types
}

// tracedEvents waits until the log has events of these types in the trace.
func (d *deployment) tracedEvents(trace string, types ...string) {
	d.Helper()
	admin := d.admin()
	d.until(30*time.Second, "events of trace "+trace, func() error {
		have := map[string]int{}
		for _, e := range d.search(admin, &warehousev1.Filter{TraceId: trace}) {
			have[e.Type]++
			if e.TraceID != trace {
				d.Fatalf("%s is of trace %q", e.Type, e.TraceID)
			}
		}
		for _, t := range types {
			if have[t] == 0 {
				return errorf("no %s in %v", t, have)
			}
		}
		return nil
	})
}

// linked waits for a span of a name that links to the trace.
func (d *deployment) linked(c *collector, name, trace string) {
	d.Helper()
	d.until(30*time.Second, name+" with a link", func() error {
		for _, s := range c.all() {
			for _, l := range s.GetLinks() {
				if s.GetName() == name && hex.EncodeToString(l.GetTraceId()) == trace {
					if len(s.GetLinks()) > 64 {
						d.Fatalf("%s has %d links", name, len(s.GetLinks()))
					}
					return nil
				}
			}
		}
		return errorf("none of %d spans", len(c.all()))
	})
}

func tracedUpload(d *deployment, c *collector) (track string) {
	d.Helper()
	var results []struct {
		TrackID string `json:"track_id"`
		TraceID string `json:"trace_id"`
	}
	out := d.must("upload", d.noise("traced.flac", 15, 77, tags("Traced", "Traces")...), "--wait", "--json")
	if err := json.Unmarshal([]byte(out), &results); err != nil || len(results) != 1 || len(results[0].TraceID) != 32 {
		d.Fatalf("%s: %v", out, err)
	}
	track, trace := results[0].TrackID, results[0].TraceID
	spans := d.spans(c, trace, "POST /upload/v1/files/", "PATCH /upload/v1/files/", "upload", "upload probe", "upload transcode", "decode and encode",
		"seal", "publish rendition", "blob put", d.write(), "segue.metadata.v1.IngestService/PublishRendition", "segue.playback.v1.KeyService/PutKey")
	d.from(spans, map[string]string{
		"POST /upload/v1/files/": "gateway", "upload transcode": "upload",
		"segue.metadata.v1.IngestService/PublishRendition": "metadata", "segue.playback.v1.KeyService/PutKey": "playback",
	})
	root := named(spans, "POST /upload/v1/files/")
	if len(root.GetParentSpanId()) != 0 {
		d.Error("the request's span has a parent that nobody sends")
	}
	for _, name := range []string{"upload probe", "upload transcode", "seal", "segue.metadata.v1.IngestService/PublishRendition"} {
		if s := named(spans, name); !below(spans, s, root) {
			d.Errorf("%q is not below the request", name)
		}
	}
	d.tracedEvents(trace, "UploadStarted", "UploadStaged", "IngestStepDone", "TrackChanged", "RenditionPublished")
	if types := d.rowsOf(trace); !slices.Contains(types, "RenditionPublished") {
		d.Errorf("rows of the upload's trace: %v", types)
	}
	d.linked(c, "outbox relay", trace)
	d.linked(c, "lake file", trace)
	return track
}

func tracedPlay(d *deployment, c *collector, track string) {
	d.Helper()
	_, told, err := d.ctl("", "--keep-trace", "play", track, "--sink", "null", "--pace", "fast")
	if err != nil {
		d.Fatalf("play: %v\n%s", err, told)
	}
	_, rest, _ := strings.Cut(told, "trace ")
	trace, _, _ := strings.Cut(rest, "\n")
	const resolve = "segue.playback.v1.StreamService/ResolvePlay"
	spans := d.spans(c, trace, "PLAY", "PLAY stream", resolve, "POST /segue.playback.v1.SessionService/OpenSession", "segue.playback.v1.SessionService/OpenSession")
	// Where QUIC is slow to answer the fallback is asked, too: of two PLAYs one was heard.
	i := slices.IndexFunc(spans, func(s tracedSpan) bool {
		return s.GetName() == "PLAY" && attribute(s.GetAttributes(), "segue.code") == "OK"
	})
	if i < 0 {
		d.Fatal("no PLAY ended well")
	}
	play := spans[i]
	if !slices.ContainsFunc(spans, func(s tracedSpan) bool { return s.GetName() == resolve && below(spans, s, play) }) {
		d.Error("what playback was asked is not below the PLAY")
	}
	d.from(spans, map[string]string{"PLAY": "edge", resolve: "playback", "POST /segue.playback.v1.SessionService/OpenSession": "gateway"})
	if by := attribute(play.GetAttributes(), "segue.transport"); by != "quic" && by != "https" {
		d.Errorf("the PLAY came by %q", by)
	}
	d.tracedEvents(trace, "SessionOpened", "PlaybackStarted", "PlaybackEnded", "StreamServed")
	if out := d.must("audit", "--trace", trace); !strings.Contains(out, "PlaybackStarted") || !strings.Contains(out, trace) {
		d.Errorf("audit --trace shows %s", out)
	}
	types := d.rowsOf(trace)
	for _, want := range []string{"PlaybackStarted", "PlaybackEnded", "StreamServed"} {
		if !slices.Contains(types, want) {
			d.Errorf("rows of the trace: %v, no %s", types, want)
		}
	}
	d.linked(c, "lake file", trace)
	named := false
	for _, p := range d.all("gateway") {
		log, err := os.ReadFile(p.log)
		if err != nil {
			d.Fatal(err)
		}
		named = named || strings.Contains(string(log), `"trace_id":"`+trace+`"`)
	}
	if !named {
		d.Error("no line of a gateway's log names the trace")
	}
}

// noPersonalData: no span says who it was, what their program is, or what lets them in.
func noPersonalData(d *deployment, c *collector) {
	d.Helper()
	admin := d.admin()
	claims := strings.Split(admin.access, ".")
	secrets := map[string]string{
		"access token": claims[len(claims)-1], "token": "eyJ", "refresh token": admin.refresh, "password": adminPassword, "bearer": "Bearer",
		"user agent": "seguectl/", "Go's user agent": "Go-http-client", "mail": "@", "address": "127.0.0.1", "file name": "traced.flac",
	}
	spans := c.all()
	if len(spans) < 50 {
		d.Errorf("only %d spans", len(spans))
	}
	for _, s := range spans {
		// Ids are random bytes, and may spell anything.
		said := proto.CloneOf(s.Span)
		said.TraceId, said.SpanId, said.ParentSpanId = nil, nil, nil
		for _, l := range said.GetLinks() {
			l.TraceId, l.SpanId = nil, nil
		}
		b, err := protojson.Marshal(said)
		if err != nil {
			d.Fatal(err)
		}
		for what, secret := range secrets {
			if secret != "" && strings.Contains(string(b), secret) {
				d.Errorf("a span holds the %s: %s", what, b)
			}
		}
	}
}
