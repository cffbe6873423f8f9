package gateway_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/edge/gateway"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
	"github.com/segue-music/segue/internal/fault"
)

// authorized adds a token to each call.
type authorized struct {
	client *http.Client
	token  string
}

func (a authorized) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+a.token)
	return a.client.Do(r)
}

func h2c() *http.Client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: &p}}
}

// shapes are the ways from a client to a service: over TCP in the clear and over TLS in
// front, in process and over TCP behind.
func shapes(t *testing.T, a *audit, run func(t *testing.T, w *world, client func(opts ...connect.ClientOption) warehousev1connect.AuditServiceClient)) {
	for _, front := range []string{"h2c", "h1", "tls_h2"} {
		for _, back := range []string{"in_process", "tcp_h2"} {
			t.Run(front+"_to_"+back, func(t *testing.T) {
				w := newWorld(t)
				_, h := warehousev1connect.NewAuditServiceHandler(a, w.server.Options()...)
				w.back("warehouse", h)
				if back == "tcp_h2" {
					srv := httptest.NewUnstartedServer(w.server.Authenticate("warehouse", h))
					srv.Config.Protocols = new(http.Protocols)
					srv.Config.Protocols.SetUnencryptedHTTP2(true)
					srv.Start()
					t.Cleanup(srv.Close)
					base, err := url.Parse(srv.URL)
					if err != nil {
						t.Fatal(err)
					}
					w.deps.Backends["warehouse"] = gateway.Backend{Base: base, Transport: h2c().Transport}
				}
				w.build()
				base, c := "", h2c()
				switch front {
				case "h2c":
					base = "http://" + w.listen()
				case "h1":
					base, c = "http://"+w.listen(), &http.Client{Transport: &http.Transport{}}
				case "tls_h2":
					base, c = w.listenTLS()
				}
				t.Cleanup(c.CloseIdleConnections)
				run(t, w, func(opts ...connect.ClientOption) warehousev1connect.AuditServiceClient {
					return warehousev1connect.NewAuditServiceClient(authorized{c, "token-admin"}, base, opts...)
				})
			})
		}
	}
}

func (x *world) listenTLS() (base string, c *http.Client) {
	x.tb.Helper()
	spare := httptest.NewUnstartedServer(http.NotFoundHandler())
	spare.EnableHTTP2 = true
	spare.StartTLS() // only for its certificate and its client
	x.tb.Cleanup(spare.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		x.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- x.gw.Serve(ctx, ln, &tls.Config{Certificates: spare.TLS.Certificates, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	}()
	x.tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			x.tb.Error(err)
		}
	})
	return "https://" + ln.Addr().String(), spare.Client()
}

// TestGateway_Streams: a message arrives before the next one is made.
func TestGateway_Streams(t *testing.T) {
	next, gone := make(chan string), make(chan error, 1)
	a := &audit{search: func(ctx context.Context, s *connect.ServerStream[warehousev1.SearchEventsResponse]) error {
		if err := s.Send(nil); err != nil {
			return err // the header is to arrive alone, before any message
		}
		for {
			select {
			case v := <-next:
				if v == "end" {
					return fault.New(fault.Conflict, "as far as it goes")
				}
				if err := s.Send(&warehousev1.SearchEventsResponse{Event: &warehousev1.StoredEvent{Json: v}}); err != nil {
					return err
				}
			case <-ctx.Done():
				gone <- ctx.Err()
				return ctx.Err()
			}
		}
	}}
	shapes(t, a, func(t *testing.T, _ *world, client func(opts ...connect.ClientOption) warehousev1connect.AuditServiceClient) {
		protocols := map[string][]connect.ClientOption{"connect": nil, "grpc_web": {connect.WithGRPCWeb()}, "grpc": {connect.WithGRPC()}}
		for name, opts := range protocols {
			if name == "grpc" && strings.Contains(t.Name(), "/h1_to") {
				continue // gRPC needs HTTP/2
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			s, err := client(opts...).SearchEvents(ctx, &warehousev1.SearchEventsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []string{"a", "b", "c"} {
				next <- v
				if !s.Receive() || s.Msg().GetEvent().GetJson() != v {
					t.Fatalf("%s: %v, %v", name, s.Msg(), s.Err())
				}
			}
			next <- "end"
			if s.Receive() || connect.CodeOf(s.Err()) != connect.CodeAborted {
				t.Errorf("%s: the end is %v", name, s.Err())
			}
			_ = s.Close()

			// A client that goes away is noticed by the service.
			ctx2, leave := context.WithCancel(ctx)
			s, err = client(opts...).SearchEvents(ctx2, &warehousev1.SearchEventsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			next <- "a"
			if !s.Receive() {
				t.Fatal(s.Err())
			}
			leave()
			select {
			case err := <-gone:
				if err == nil {
					t.Errorf("%s: gone without an error", name)
				}
			case <-ctx.Done():
				t.Fatalf("%s: the service was not told", name)
			}
			cancel()
		}
		if res, err := client(connect.WithGRPCWeb()).FlushLake(t.Context(), &warehousev1.FlushLakeRequest{}); err != nil || res.GetFiles()[0] != "u-token-admin" {
			t.Errorf("unary: %v, %v", res, err)
		}
	})
}

// TestGateway_RefusalsInTheClientsWords: every protocol gets an error it can read.
func TestGateway_RefusalsInTheClientsWords(t *testing.T) {
	w := newWorld(t)
	base := "http://" + w.listen()
	for name, opts := range map[string][]connect.ClientOption{"connect": nil, "grpc": {connect.WithGRPC()}, "grpc_web": {connect.WithGRPCWeb()}} {
		for token, want := range map[string]connect.Code{"nonsense": connect.CodeUnauthenticated, "token-listener": connect.CodePermissionDenied} {
			c := warehousev1connect.NewAuditServiceClient(authorized{h2c(), token}, base, opts...)
			if _, err := c.FlushLake(t.Context(), &warehousev1.FlushLakeRequest{}); connect.CodeOf(err) != want {
				t.Errorf("%s with %s: %v", name, token, err)
			}
			s, err := c.SearchEvents(t.Context(), &warehousev1.SearchEventsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Receive() || connect.CodeOf(s.Err()) != want {
				t.Errorf("%s stream with %s: %v", name, token, s.Err())
			}
		}
	}
}

// TestGateway_Drain: streams end, and the port is closed, when the server stops.
func TestGateway_Drain(t *testing.T) {
	w := newWorld(t)
	began := make(chan struct{})
	a := &audit{search: func(ctx context.Context, s *connect.ServerStream[warehousev1.SearchEventsResponse]) error {
		if err := s.Send(nil); err != nil {
			return err
		}
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}}
	_, h := warehousev1connect.NewAuditServiceHandler(a, w.server.Options()...)
	w.back("warehouse", h)
	w.build()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := w.serve(ln)
	c := warehousev1connect.NewAuditServiceClient(authorized{h2c(), "token-admin"}, "http://"+ln.Addr().String())
	s, err := c.SearchEvents(t.Context(), &warehousev1.SearchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	start := time.Now()
	stop()
	if s.Receive() || s.Err() == nil {
		t.Error("the stream ended as if it were complete")
	}
	if took := time.Since(start); took > w.deps.Config.DrainTimeout {
		t.Errorf("draining took %v", took)
	}
	res := httptest.NewRecorder()
	w.gw.Handler().ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if res.Code != http.StatusServiceUnavailable {
		t.Errorf("ready while draining: %d", res.Code)
	}
}
