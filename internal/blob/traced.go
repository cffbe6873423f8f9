package blob

import (
	"context"
	"io"
	"os"

	"go.opentelemetry.io/otel/attribute"

	"github.com/segue-music/segue/internal/span"
)

// Traced makes a span for every put, open, read and delete of a traced request. It is a
// [Filer] where s is one. Reads of an open object are not followed: they are many, and
// their span is that of who reads.
func Traced(s Store) Store {
	if f, ok := s.(Filer); ok {
		return &tracedFiler{traced{s}, f}
	}
	return &traced{s}
}

type traced struct{ Store }

func (t *traced) Put(ctx context.Context, key string, r io.Reader, opt PutOptions) (err error) {
	ctx, sp := span.Start(ctx, "blob put")
	defer func() { span.End(sp, err) }()
	if sp.IsRecording() {
		sp.SetAttributes(attribute.String("segue.blob", key), attribute.Int64("segue.bytes", opt.Size))
	}
	return t.Store.Put(ctx, key, r, opt)
}

func (t *traced) Open(ctx context.Context, key string) (o Object, err error) {
	ctx, sp := span.Start(ctx, "blob open")
	defer func() { span.End(sp, err) }()
	if sp.IsRecording() {
		sp.SetAttributes(attribute.String("segue.blob", key))
	}
	return t.Store.Open(ctx, key)
}

func (t *traced) ReadRange(ctx context.Context, key string, offset, length int64) (r io.ReadCloser, err error) {
	ctx, sp := span.Start(ctx, "blob read")
	defer func() { span.End(sp, err) }()
	if sp.IsRecording() {
		sp.SetAttributes(attribute.String("segue.blob", key), attribute.Int64("segue.offset", offset), attribute.Int64("segue.bytes", length))
	}
	return t.Store.ReadRange(ctx, key, offset, length)
}

func (t *traced) Delete(ctx context.Context, key string) (err error) {
	ctx, sp := span.Start(ctx, "blob delete")
	defer func() { span.End(sp, err) }()
	if sp.IsRecording() {
		sp.SetAttributes(attribute.String("segue.blob", key))
	}
	return t.Store.Delete(ctx, key)
}

type tracedFiler struct {
	traced
	filer Filer
}

func (t *tracedFiler) OpenFile(ctx context.Context, key string) (f *os.File, err error) {
	ctx, sp := span.Start(ctx, "blob open")
	defer func() { span.End(sp, err) }()
	if sp.IsRecording() {
		sp.SetAttributes(attribute.String("segue.blob", key))
	}
	return t.filer.OpenFile(ctx, key)
}
