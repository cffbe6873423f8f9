package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
)

var (
	errAnonymous = fault.New(fault.Unauthenticated, "sign in first")
	errDenied    = fault.New(fault.Denied, "not allowed for this caller")
	errInvalid   = fault.New(fault.Invalid, "request is not valid")
)

// interceptor stands around every method of every service, outermost.
type interceptor struct{ server *Server }

func (i *interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (res connect.AnyResponse, err error) {
		start := i.server.now()
		defer func() {
			if v := recover(); v != nil {
				res, err = nil, panicked(v)
			}
			err = i.finish(ctx, req.Spec().Procedure, start, err)
		}()
		if err := authorize(ctx, req.Spec()); err != nil {
			return nil, err
		}
		if err := i.check(req.Any()); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

func (i *interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (i *interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) (err error) {
		start := i.server.now()
		defer func() {
			if v := recover(); v != nil {
				err = panicked(v)
			}
			err = i.finish(ctx, conn.Spec().Procedure, start, err)
		}()
		if err := authorize(ctx, conn.Spec()); err != nil {
			return err
		}
		return next(ctx, &checkedConn{StreamingHandlerConn: conn, check: i.check})
	}
}

// checkedConn validates each message of a stream.
type checkedConn struct {
	connect.StreamingHandlerConn
	check func(any) error
}

func (c *checkedConn) Receive(msg any) error {
	if err := c.StreamingHandlerConn.Receive(msg); err != nil {
		return err
	}
	return c.check(msg)
}

// authorize is the one place that decides who may call a method: the option access of
// the method in proto/. A method without it is closed to everyone.
func authorize(ctx context.Context, spec connect.Spec) error {
	who := identity.From(ctx)
	access := accessOf(spec)
	switch {
	case access == nil:
		return errDenied.Because(fmt.Errorf("%s has no access option", spec.Procedure))
	case who.Target != "" && slices.Contains(access.GetCallers(), who.Target):
		return nil
	case who.Target == "gateway" && access.GetAnonymous():
		return nil
	case who.Target == "gateway" && who.UserID == "" && len(access.GetRoles()) > 0:
		return errAnonymous
	case who.Target == "gateway" && who.UserID != "" && who.Has(access.GetRoles()...):
		return nil
	case who.Target == "":
		return errAnonymous
	}
	return errDenied
}

func accessOf(spec connect.Spec) *authv1.Access {
	method, ok := spec.Schema.(protoreflect.MethodDescriptor)
	if !ok || !proto.HasExtension(method.Options(), authv1.E_Access) {
		return nil
	}
	access, _ := proto.GetExtension(method.Options(), authv1.E_Access).(*authv1.Access)
	return access
}

// check validates a request by the rules in proto/ and names the fields in the error.
func (i *interceptor) check(msg any) error {
	m, ok := msg.(proto.Message)
	if !ok {
		return nil
	}
	err := i.server.validate.Validate(m)
	var bad *protovalidate.ValidationError
	if errors.As(err, &bad) {
		fields := make([]fault.Field, 0, len(bad.Violations))
		for _, v := range bad.Violations {
			fields = append(fields, fault.Field{Name: protovalidate.FieldPathString(v.Proto.GetField()), Text: v.Proto.GetMessage()})
		}
		f := fields[0]
		return errInvalid.With(f.Name + ": " + f.Text).Fields(fields...)
	}
	return err
}

func panicked(v any) error { return fmt.Errorf("panic: %v\n%s", v, debug.Stack()) }

// finish counts the call and makes the error that leaves the process.
func (i *interceptor) finish(ctx context.Context, procedure string, start time.Time, err error) error {
	out := i.outgoing(ctx, procedure, err)
	code := "ok"
	if out != nil {
		code = connect.CodeOf(out).String()
	}
	i.server.duration.WithLabelValues(procedure, code).Observe(i.server.now().Sub(start).Seconds())
	if sp := trace.SpanFromContext(ctx); sp.IsRecording() {
		sp.SetName(strings.TrimPrefix(procedure, "/"))
		sp.SetAttributes(attribute.String("rpc.system", "connect_rpc"), attribute.String("rpc.method", procedure), attribute.String("rpc.code", code))
		if connect.CodeOf(out) == connect.CodeInternal && out != nil {
			sp.SetStatus(otelcodes.Error, "")
		}
	}
	return out
}

func (i *interceptor) outgoing(ctx context.Context, procedure string, err error) error {
	if err == nil {
		return nil
	}
	if fault.KindOf(err) == 0 {
		err = fault.Disk(err)
	}
	kind := fault.KindOf(err)
	var ce *connect.Error
	switch {
	case kind != 0:
		return encode(err, kind, identity.From(ctx).RequestID)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, errors.New("canceled"))
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, errors.New("deadline exceeded"))
	case errors.As(err, &ce) && !connect.IsWireError(err) && ce.Code() != connect.CodeUnknown && ce.Code() != connect.CodeInternal:
		return ce // the library's own refusal: a malformed or an oversize message
	}
	request := identity.From(ctx).RequestID
	i.server.log.ErrorContext(ctx, "call failed", "procedure", procedure, "request", request, "err", err)
	out := connect.NewError(connect.CodeInternal, errors.New("internal error"))
	addDetail(out, &errdetails.ErrorInfo{Reason: "internal", Domain: "segue", Metadata: map[string]string{"request_id": request}})
	return out
}

func encode(err error, kind fault.Kind, request string) error {
	code := connect.CodeInternal
	for _, c := range codes {
		if c.kind == kind {
			code = c.code
		}
	}
	out := connect.NewError(code, errors.New(fault.Public(err)))
	addDetail(out, &errdetails.ErrorInfo{Reason: kind.String(), Domain: "segue", Metadata: map[string]string{"request_id": request}})
	if d := fault.RetryAfter(err); d > 0 {
		addDetail(out, &errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
		out.Meta().Set("Retry-After", fmt.Sprint(int64((d+time.Second-1)/time.Second)))
	}
	if fields := fault.FieldsOf(err); len(fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, f := range fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f.Name, Description: f.Text})
		}
		addDetail(out, bad)
	}
	return out
}

func addDetail(e *connect.Error, m proto.Message) {
	if d, err := connect.NewErrorDetail(m); err == nil {
		e.AddDetail(d)
	}
}
