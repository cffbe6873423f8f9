package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/rpc/rpctest"
)

// audit is a real service of the contract whose methods a test sets.
type audit struct {
	warehousev1connect.UnimplementedAuditServiceHandler
	flush  func(context.Context) error
	search func(context.Context, *warehousev1.SearchEventsRequest, *connect.ServerStream[warehousev1.SearchEventsResponse]) error
}

func (a *audit) FlushLake(ctx context.Context, _ *warehousev1.FlushLakeRequest) (*warehousev1.FlushLakeResponse, error) {
	return &warehousev1.FlushLakeResponse{}, a.flush(ctx)
}

func (a *audit) SearchEvents(ctx context.Context, req *warehousev1.SearchEventsRequest, s *connect.ServerStream[warehousev1.SearchEventsResponse]) error {
	return a.search(ctx, req, s)
}

func serve(tb testing.TB, a *audit) *rpctest.Server {
	return rpctest.New(tb, func(opts ...connect.HandlerOption) http.Handler {
		mux := http.NewServeMux()
		mux.Handle(warehousev1connect.NewAuditServiceHandler(a, opts...))
		return mux
	})
}

func as(s *rpctest.Server, i identity.Identity) warehousev1connect.AuditServiceClient {
	return warehousev1connect.NewAuditServiceClient(s.As(i), rpctest.URL, connect.WithInterceptors(rpc.ClientInterceptor()))
}

func admin() identity.Identity {
	return identity.Identity{Target: "gateway", UserID: "u", Roles: []authv1.Role{authv1.Role_ROLE_ADMIN}, RequestID: "req-1"}
}

func TestAuthorize(t *testing.T) {
	ran := 0
	s := serve(t, &audit{flush: func(context.Context) error { ran++; return nil }})
	for name, c := range map[string]struct {
		who  identity.Identity
		want fault.Kind
	}{
		"admin":                   {admin(), 0},
		"nobody":                  {identity.Identity{}, fault.Unauthenticated},
		"gateway_without_sign-in": {identity.Identity{Target: "gateway"}, fault.Unauthenticated},
		"listener":                {identity.Identity{Target: "gateway", UserID: "u", Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}}, fault.Denied},
		"other_service_for_admin": {identity.Identity{Target: "upload", UserID: "u", Roles: []authv1.Role{authv1.Role_ROLE_ADMIN}}, fault.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			before := ran
			_, err := as(s, c.who).FlushLake(t.Context(), &warehousev1.FlushLakeRequest{})
			if fault.KindOf(err) != c.want || (err == nil) != (ran == before+1) {
				t.Errorf("answer %v, handler ran %d times", err, ran-before)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	notFound := fault.New(fault.NotFound, "track not found")
	for name, c := range map[string]struct {
		err  error
		code connect.Code
		text string
	}{
		"kind":     {errors.Join(notFound.With("x").Because(errors.New("secret"))), connect.CodeNotFound, "track not found: x"},
		"no_kind":  {errors.New("password=secret"), connect.CodeInternal, "internal error"},
		"deadline": {context.DeadlineExceeded, connect.CodeDeadlineExceeded, "deadline exceeded"},
		"connect":  {connect.NewError(connect.CodeUnknown, errors.New("password=secret")), connect.CodeInternal, "internal error"},
		"retry":    {fault.New(fault.Exhausted, "too often").RetryIn(1500 * time.Millisecond), connect.CodeResourceExhausted, "too often"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &audit{flush: func(context.Context) error { return c.err }})
			_, err := as(s, admin()).FlushLake(t.Context(), &warehousev1.FlushLakeRequest{})
			var ce *connect.Error
			if !errors.As(err, &ce) || ce.Code() != c.code || ce.Message() != c.text || strings.Contains(err.Error(), "secret") {
				t.Fatalf("answer %v", err)
			}
			if fault.RetryAfter(err) != fault.RetryAfter(c.err) {
				t.Errorf("retry after %s", fault.RetryAfter(err))
			}
			if c.code == connect.CodeInternal && !hasRequestID(ce) {
				t.Error("an internal error without the request's id")
			}
		})
	}
}

func hasRequestID(e *connect.Error) bool {
	for _, d := range e.Details() {
		if v, err := d.Value(); err == nil {
			if i, ok := v.(*errdetails.ErrorInfo); ok && i.GetMetadata()["request_id"] == "req-1" {
				return true
			}
		}
	}
	return false
}

func TestValidate_NamesTheField(t *testing.T) {
	s := serve(t, &audit{search: func(context.Context, *warehousev1.SearchEventsRequest, *connect.ServerStream[warehousev1.SearchEventsResponse]) error {
		t.Error("the handler saw an invalid request")
		return nil
	}})
	st, err := as(s, admin()).SearchEvents(t.Context(), &warehousev1.SearchEventsRequest{
		Filter: &warehousev1.Filter{Subject: strings.Repeat("x", 200)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if st.Receive() || connect.CodeOf(st.Err()) != connect.CodeInvalidArgument || !strings.Contains(st.Err().Error(), "filter.subject") {
		t.Errorf("answer %v", st.Err())
	}
}

func TestInProcess_PassesOnlyDeadlineAndEnd(t *testing.T) {
	type key struct{}
	done := make(chan error, 1)
	s := serve(t, &audit{
		flush: func(ctx context.Context) error {
			if ctx.Value(key{}) != nil {
				t.Error("a value of the caller's context is seen by the handler")
			}
			if who := identity.From(ctx); who.UserID != "u" {
				t.Errorf("the handler is called by %+v", who)
			}
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the deadline is lost")
			}
			return nil
		},
		search: func(ctx context.Context, _ *warehousev1.SearchEventsRequest, st *connect.ServerStream[warehousev1.SearchEventsResponse]) error {
			for {
				if err := st.Send(&warehousev1.SearchEventsResponse{Event: &warehousev1.StoredEvent{Topic: "t"}}); err != nil {
					done <- err
					return err
				}
				select {
				case <-ctx.Done():
					done <- ctx.Err()
					return ctx.Err()
				default:
				}
			}
		},
	})
	// The caller's own identity in the context must not be what the handler sees.
	ctx := identity.With(context.WithValue(t.Context(), key{}, 1), identity.Identity{UserID: "forged"})
	limited, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	if _, err := as(s, admin()).FlushLake(limited, &warehousev1.FlushLakeRequest{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	st, err := as(s, admin()).SearchEvents(ctx, &warehousev1.SearchEventsRequest{})
	if err != nil || !st.Receive() {
		t.Fatalf("the stream does not flow: %v", err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("the handler did not hear that the caller left")
	}
	if err := st.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestInProcess_Panics(t *testing.T) {
	s := serve(t, &audit{flush: func(context.Context) error { panic("secret") }})
	_, err := as(s, admin()).FlushLake(t.Context(), &warehousev1.FlushLakeRequest{})
	if connect.CodeOf(err) != connect.CodeInternal || strings.Contains(err.Error(), "secret") {
		t.Errorf("answer %v", err)
	}
	plain := &rpc.InProcess{Log: slog.New(slog.DiscardHandler), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("part"))
		panic("late")
	})}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
	res, err := plain.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("half an answer %q reads as a whole one", b)
	}
}

func TestInProcess_BidiAndTrailers(t *testing.T) {
	echo := &rpc.InProcess{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum")
		b := make([]byte, 1)
		n := 0
		for {
			if _, err := r.Body.Read(b); err != nil {
				break
			}
			n++
			_, _ = w.Write(bytes.ToUpper(b))
		}
		w.Header().Set("Sum", strings.Repeat("x", n))
	})}
	in, out := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/", in)
	got := make(chan *http.Response, 1)
	go func() {
		res, err := echo.RoundTrip(req)
		if err != nil {
			t.Error(err)
		}
		got <- res
	}()
	b := make([]byte, 1)
	_, _ = out.Write([]byte("a"))
	res := <-got
	for _, c := range "ABC" {
		if _, err := io.ReadFull(res.Body, b); err != nil || rune(b[0]) != c {
			t.Fatalf("read %q, %v, want %q", b, err, c)
		}
		if c != 'C' {
			_, _ = out.Write([]byte{byte(c) + 'b' - 'A'})
		}
	}
	_ = out.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.Trailer.Get("Sum") != "xxx" {
		t.Errorf("trailer %q, %v", res.Trailer.Get("Sum"), err)
	}
}

func TestTokens_Refuse(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	ring, err := keyring.Open(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	tokens := rpc.NewTokens(ring, func() time.Time { return now })
	token, err := tokens.Mint("user", admin())
	if err != nil {
		t.Fatal(err)
	}
	if who, err := tokens.Verify("user", token); err != nil || who.UserID != "u" {
		t.Fatalf("%+v, %v", who, err)
	}
	if _, err := tokens.Verify("upload", token); !errors.Is(err, rpc.ErrToken) {
		t.Errorf("another audience: %v", err)
	}
	for i := range token {
		bad := token[:i] + string(token[i]^1) + token[i+1:]
		if _, err := tokens.Verify("user", bad); err == nil {
			t.Errorf("altered at %d and valid", i)
		}
	}
	for _, bad := range []string{"", ".", "a.b", strings.Repeat("a", 1<<16)} {
		if _, err := tokens.Verify("user", bad); !errors.Is(err, rpc.ErrToken) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	now = now.Add(2 * time.Minute)
	if _, err := tokens.Verify("user", token); !errors.Is(err, rpc.ErrToken) {
		t.Errorf("two minutes later: %v", err)
	}
}

func BenchmarkInProcess(b *testing.B) {
	c := as(serve(b, &audit{flush: func(context.Context) error { return nil }}), admin())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.FlushLake(b.Context(), &warehousev1.FlushLakeRequest{}); err != nil {
			b.Fatal(err)
		}
	}
}
