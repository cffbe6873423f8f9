package resilience

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	"github.com/segue-music/segue/internal/overload"
)

// service is one instance, which counts its calls.
type service struct {
	metadatav1connect.UnimplementedIngestServiceHandler
	metadatav1connect.UnimplementedCatalogueServiceHandler
	*httptest.Server
	calls  atomic.Int64
	answer atomic.Pointer[connect.Error]
	during atomic.Pointer[func(context.Context)]
}

// do is what happens during each call from now on.
func (s *service) do(f func(context.Context)) { s.during.Store(&f) }

func (s *service) call(ctx context.Context) error {
	s.calls.Add(1)
	if f := s.during.Load(); f != nil {
		(*f)(ctx)
	}
	if e := s.answer.Load(); e != nil {
		return e
	}
	return nil
}

// LookupTracks may be repeated.
func (s *service) LookupTracks(ctx context.Context, _ *metadatav1.LookupTracksRequest) (*metadatav1.LookupTracksResponse, error) {
	return &metadatav1.LookupTracksResponse{}, s.call(ctx)
}

// SetAvailability may not.
func (s *service) SetAvailability(ctx context.Context, _ *metadatav1.SetAvailabilityRequest) (*metadatav1.SetAvailabilityResponse, error) {
	return &metadatav1.SetAvailabilityResponse{}, s.call(ctx)
}

func serve(t *testing.T) *service {
	t.Helper()
	s := &service{}
	mux := http.NewServeMux()
	mux.Handle(metadatav1connect.NewIngestServiceHandler(s))
	mux.Handle(metadatav1connect.NewCatalogueServiceHandler(s))
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// caller is a service that calls the instances.
type caller struct {
	read  func(context.Context) error
	write func(context.Context) error
}

func newCaller(t *testing.T, bases ...string) *caller {
	t.Helper()
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	next := &http.Transport{Protocols: &http.Protocols{}}
	next.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(next.CloseIdleConnections)
	all, err := NewInstances("metadata", bases, next, m)
	if err != nil {
		t.Fatal(err)
	}
	opt := connect.WithInterceptors(NewRetry("metadata", m))
	const anywhere = "http://metadata.internal"
	ingest := metadatav1connect.NewIngestServiceClient(&http.Client{Transport: all}, anywhere, opt)
	catalogue := metadatav1connect.NewCatalogueServiceClient(&http.Client{Transport: all}, anywhere, opt)
	return &caller{
		read: func(ctx context.Context) error {
			_, err := ingest.LookupTracks(ctx, &metadatav1.LookupTracksRequest{})
			return err
		},
		write: func(ctx context.Context) error {
			_, err := catalogue.SetAvailability(ctx, &metadatav1.SetAvailabilityRequest{})
			return err
		},
	}
}

func TestInstances_Spread(t *testing.T) {
	a, b := serve(t), serve(t)
	c := newCaller(t, a.URL, b.URL)
	for range 400 {
		if err := c.write(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := a.calls.Load(), b.calls.Load(); a < 100 || b < 100 || a+b != 400 {
		t.Errorf("%d and %d calls of 400", a, b)
	}
}

// TestInstances_Busy: an instance that hangs keeps what it has, and gets no more.
func TestInstances_Busy(t *testing.T) {
	a, b := serve(t), serve(t)
	gate := make(chan struct{})
	a.do(func(context.Context) { <-gate })
	c := newCaller(t, a.URL, b.URL)
	var answered, made atomic.Int64
	for a.calls.Load() == 0 {
		made.Add(1)
		go func() { _ = c.write(t.Context()); answered.Add(1) }() // nobody waits for those that hang
		for answered.Load()+a.calls.Load() < made.Load() {
			runtime.Gosched()
		}
	}
	before := a.calls.Load()
	for range 200 {
		if err := c.write(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if more := a.calls.Load() - before; more != 0 {
		t.Errorf("the instance that hangs got %d of 200 more calls", more)
	}
	close(gate)
}

// TestInstances_Down: an instance that goes away costs no call, and is soon left alone.
func TestInstances_Down(t *testing.T) {
	a, b := serve(t), serve(t)
	c := newCaller(t, a.URL, b.URL)
	for n := range 300 {
		if n == 50 {
			a.CloseClientConnections()
			a.Close()
		}
		if err := errors.Join(c.read(t.Context()), c.write(t.Context())); err != nil {
			t.Errorf("call %d: %v", n, err)
		}
	}
	b.Close()
	if err := c.read(t.Context()); connect.CodeOf(err) != connect.CodeUnavailable || !errors.Is(err, ErrNotSent) {
		t.Errorf("without an instance: %v", err)
	}
	serveAgain(t, b.Server)
	var err error
	for end := time.Now().Add(10 * time.Second); ; {
		if err = c.read(t.Context()); err == nil || time.Now().After(end) {
			break
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // until the condition holds
	}
	if err != nil {
		t.Errorf("when one is back: %v", err)
	}
}

// serveAgain starts a server that was closed anew, at its address.
func serveAgain(t *testing.T, old *httptest.Server) {
	t.Helper()
	again := httptest.NewUnstartedServer(old.Config.Handler)
	again.Config.Protocols = old.Config.Protocols
	l, err := net.Listen("tcp", old.Listener.Addr().String())
	if err != nil {
		t.Skip("the port was taken:", err)
	}
	_ = again.Listener.Close() // its own
	again.Listener = l
	again.Start()
	t.Cleanup(again.Close)
}

// TestInstances_Rolled: of two instances that are started anew one after the other one
// always answers, also when the first is there again for less time than it is left alone.
func TestInstances_Rolled(t *testing.T) {
	a, b := serve(t), serve(t)
	c := newCaller(t, a.URL, b.URL)
	call := func(when string) {
		t.Helper()
		for range 20 {
			if err := errors.Join(c.read(t.Context()), c.write(t.Context())); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
		}
	}
	call("both")
	a.CloseClientConnections()
	a.Close()
	call("without the first")
	serveAgain(t, a.Server)
	b.CloseClientConnections()
	b.Close()
	call("without the second")
}

// TestInstances_Refused: refusals with a time to wait, however many, close nobody out; those
// without one do.
func TestInstances_Refused(t *testing.T) {
	for name, wait := range map[string]string{"with_a_time": "2", "without": ""} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			c := newCaller(t, a.URL)
			refusal := connect.NewError(connect.CodeUnavailable, errors.New("track is being prepared"))
			if wait != "" {
				refusal.Meta().Set("Retry-After", wait)
			}
			a.answer.Store(refusal)
			for range 3 * failingCalls {
				if err := c.write(t.Context()); err == nil {
					t.Fatal("not refused")
				}
			}
			if got := a.calls.Load() == 3*failingCalls; got != (wait != "") {
				t.Errorf("%d of %d calls reached the instance", a.calls.Load(), 3*failingCalls)
			}
		})
	}
}

func TestRetry(t *testing.T) {
	later := connect.NewError(connect.CodeUnavailable, errors.New("overloaded"))
	d, err := connect.NewErrorDetail(&errdetails.RetryInfo{})
	if err != nil {
		t.Fatal(err)
	}
	later.AddDetail(d)
	shed := connect.NewError(connect.CodeResourceExhausted, errors.New("too busy"))
	shed.Meta().Set(overload.Header, "1")
	for name, c := range map[string]struct {
		err         *connect.Error
		read, write int64 // how often each arrives
	}{
		"unavailable": {connect.NewError(connect.CodeUnavailable, errors.New("draining")), triesMost, 1},
		"come_later":  {later, 1, 1},
		"not_begun":   {shed, triesMost, triesMost},
		"refused":     {connect.NewError(connect.CodePermissionDenied, errors.New("no")), 1, 1},
		"broken":      {connect.NewError(connect.CodeInternal, errors.New("oops")), 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.answer.Store(c.err)
			caller := newCaller(t, s.URL)
			for what, call := range map[string]struct {
				do   func(context.Context) error
				want int64
			}{"read": {caller.read, c.read}, "write": {caller.write, c.write}} {
				s.calls.Store(0)
				if err := call.do(t.Context()); connect.CodeOf(err) != c.err.Code() {
					t.Errorf("%s: %v", what, err)
				}
				if n := s.calls.Load(); n != call.want {
					t.Errorf("%s arrived %d times, want %d", what, n, call.want)
				}
			}
		})
	}
}

// TestRetry_Budget: a service that is down for all gets a tenth more calls, not thrice as many.
func TestRetry_Budget(t *testing.T) {
	s := serve(t)
	s.answer.Store(connect.NewError(connect.CodeUnavailable, errors.New("down")))
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	client := metadatav1connect.NewIngestServiceClient(s.Client(), s.URL, connect.WithInterceptors(NewRetry("metadata", m)))
	if _, err := client.LookupTracks(t.Context(), &metadatav1.LookupTracksRequest{}); err == nil {
		t.Fatal("a service that is down answers")
	}
	const calls = 300
	r := NewRetry("metadata", m)
	made := 0
	call := r.WrapUnary(func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) {
		made++
		return nil, fmt.Errorf("call: %w", ErrNotSent)
	})
	for range calls {
		_, _ = call(t.Context(), connect.NewRequest(&metadatav1.LookupTracksRequest{})) // fails
	}
	if most := calls + calls/budgetShare + budgetFirst; made > most || made < calls+calls/budgetShare {
		t.Errorf("%d tries of %d calls, want %d at most", made, calls, most)
	}
}

// TestRetry_Deadline: the callee's time ends before the caller's, and a caller without one
// has one too.
func TestRetry_Deadline(t *testing.T) {
	s := serve(t)
	var left time.Duration
	s.do(func(ctx context.Context) {
		at, ok := ctx.Deadline()
		if !ok {
			at = time.Now().Add(time.Hour)
		}
		left = time.Until(at)
	})
	c := newCaller(t, s.URL)
	if err := c.read(t.Context()); err != nil || left > callLimit || left < callLimit/2 {
		t.Errorf("without a limit: %s left, %v", left, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := c.read(ctx); err != nil || left > 1900*time.Millisecond || left < time.Second {
		t.Errorf("of 2 s: %s left, %v", left, err)
	}
}

// TestInstances_Cancelled: callers that give up say nothing against an instance.
func TestInstances_Cancelled(t *testing.T) {
	s := serve(t)
	s.do(func(ctx context.Context) { <-ctx.Done() })
	c := newCaller(t, s.URL)
	for range 3 * failingCalls {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Millisecond, cancel)
		if err := c.read(ctx); connect.CodeOf(err) != connect.CodeCanceled {
			t.Errorf("cancelled call: %v", err)
		}
	}
	s.do(func(context.Context) {})
	if err := c.read(t.Context()); err != nil {
		t.Errorf("after them: %v", err)
	}
}

func TestResolver(t *testing.T) {
	for _, bad := range []string{"", "playback", "ftp://a:1", "dns+playback:1", "http://"} {
		if _, err := newResolver([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	r, err := newResolver([]string{"http://fixed:1", "dns+https://playback.segue:8421"})
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	var fails error
	r.lookup = func(context.Context, string) ([]string, error) { return hosts, fails }
	look := func(wantChanged bool, want ...string) {
		t.Helper()
		r.next = time.Time{}
		if _, _, err := r.get(t.Context()); err != nil { // begins to look
			t.Fatal(err)
		}
		for wait := true; wait; {
			r.mu.Lock()
			wait = r.running != nil
			r.mu.Unlock()
		}
		r.next = time.Now().Add(time.Hour)
		list, changed, err := r.get(t.Context())
		var got []string
		for _, u := range list {
			got = append(got, (&url.URL{Scheme: u.Scheme, Host: u.Host}).String())
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil || (wantChanged && !changed) {
			t.Errorf("instances (-want +got), changed %t, %v:\n%s", changed, err, diff)
		}
	}
	hosts = []string{"192.0.2.2", "192.0.2.1"}
	look(false, "http://fixed:1", "https://192.0.2.1:8421", "https://192.0.2.2:8421")
	hosts = []string{"192.0.2.3"}
	look(true, "http://fixed:1", "https://192.0.2.3:8421")
	hosts, fails = nil, errors.New("no server")
	look(false, "http://fixed:1", "https://192.0.2.3:8421")
	only, err := newResolver([]string{"dns+http://nowhere:1"})
	if err != nil {
		t.Fatal(err)
	}
	only.lookup = r.lookup
	if _, _, err := only.get(t.Context()); !errors.Is(err, fails) {
		t.Errorf("a name that was never found: %v", err)
	}
}
