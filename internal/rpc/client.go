package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/span"
)

// Client sends the calls of one service to another; it is a connect.HTTPClient. The
// identity of the listener comes from the call's context, where the server's middleware
// has put it; the caller is Self whatever stands there.
type Client struct {
	Self      string // the calling service
	Audience  string // the called one
	Tokens    *Tokens
	Transport http.RoundTripper
}

// Do implements connect.HTTPClient.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	who := identity.From(req.Context())
	who.Target = c.Self
	token, err := c.Tokens.Mint(c.Audience, who)
	if err != nil {
		return nil, err
	}
	req.Header.Set(Header, token)
	span.Inject(req.Context(), req.Header)
	return c.Transport.RoundTrip(req)
}

// codes pairs the kinds of error with Connect's codes.
var codes = [...]struct { //nolint:gochecknoglobals // a constant table
	kind fault.Kind
	code connect.Code
}{
	{fault.Invalid, connect.CodeInvalidArgument},
	{fault.Unauthenticated, connect.CodeUnauthenticated},
	{fault.Denied, connect.CodePermissionDenied},
	{fault.NotFound, connect.CodeNotFound},
	{fault.Exists, connect.CodeAlreadyExists},
	{fault.Conflict, connect.CodeAborted},
	{fault.Exhausted, connect.CodeResourceExhausted},
	{fault.Unavailable, connect.CodeUnavailable},
}

// ClientInterceptor turns the codes of answers back into kinds of error, so that a
// service handles an error of another as it handles its own. connect.CodeOf still works.
func ClientInterceptor() connect.Interceptor { return clientInterceptor{} }

type clientInterceptor struct{}

func (clientInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		// The call as the caller sees it, with the way there and back.
		ctx, sp := span.Start(ctx, req.Spec().Procedure, trace.WithSpanKind(trace.SpanKindClient))
		res, err := next(ctx, req)
		if sp.IsRecording() && err != nil {
			sp.SetAttributes(attribute.String("rpc.code", connect.CodeOf(err).String()))
		}
		sp.End()
		if err != nil {
			return nil, fromCode(err)
		}
		return res, nil
	}
}

func (clientInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next // a stream's error comes with Receive, of which connect keeps the type
}

func (clientInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func fromCode(err error) error {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return fmt.Errorf("call: %w", err)
	}
	if !connect.IsWireError(err) && ce.Code() == connect.CodeUnavailable {
		// The transport's own words may hold addresses.
		return fault.New(fault.Unavailable, "service is not reachable").Because(err)
	}
	if ce.Code() == connect.CodeResourceExhausted && ce.Message() == fault.ErrDiskFull.Error() {
		return fault.ErrDiskFull.Because(err)
	}
	for _, c := range codes {
		if c.code == ce.Code() {
			f := fault.New(c.kind, ce.Message())
			for _, d := range ce.Details() {
				if v, err := d.Value(); err == nil {
					if r, ok := v.(*errdetails.RetryInfo); ok {
						f = f.RetryIn(r.GetRetryDelay().AsDuration())
					}
				}
			}
			return f.Because(err)
		}
	}
	return fmt.Errorf("call: %w", err)
}
