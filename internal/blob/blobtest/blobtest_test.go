package blobtest_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/blobtest"
	"github.com/segue-music/segue/internal/blob/localblob"
)

// broken changes every put's bytes; nil bytes drop it.
type broken struct {
	blob.Store
	change func([]byte) []byte
}

func (b broken) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if data = b.change(data); data == nil {
		return blob.CheckKey(key)
	}
	opt.Size = 0
	return b.Store.Put(ctx, key, bytes.NewReader(data), opt)
}

// overwriting ignores IfAbsent.
type overwriting struct{ blob.Store }

func (o overwriting) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) error {
	opt.IfAbsent = false
	return o.Store.Put(ctx, key, r, opt)
}

// partial keeps what a failing reader gave.
type partial struct{ blob.Store }

func (p partial) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) error {
	data, rerr := io.ReadAll(r)
	opt.Size = 0
	if err := p.Store.Put(ctx, key, bytes.NewReader(data), opt); err != nil {
		return err
	}
	return rerr
}

// repeating lists everything twice.
type repeating struct{ blob.Store }

func (r repeating) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for i, err := range r.Store.List(ctx, prefix) {
			for range 2 {
				if !yield(i, err) {
					return
				}
			}
		}
	}
}

// keeping deletes nothing.
type keeping struct{ blob.Store }

func (k keeping) Delete(ctx context.Context, key string) error {
	_, err := k.Stat(ctx, key)
	return err
}

// bound lets an object be read only as long as the call that opened it lasts.
type bound struct{ blob.Store }

type boundObject struct {
	blob.Object
	ctx context.Context
}

func (b bound) Open(ctx context.Context, key string) (blob.Object, error) {
	o, err := b.Store.Open(ctx, key)
	return boundObject{o, ctx}, err
}

func (o boundObject) ReadAt(p []byte, off int64) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	return o.Object.ReadAt(p, off)
}

func TestChecks_FailOn(t *testing.T) {
	var n atomic.Int64
	cases := map[string]func(blob.Store) blob.Store{
		"drop_all": func(s blob.Store) blob.Store { return broken{s, func([]byte) []byte { return nil }} },
		"drop_some": func(s blob.Store) blob.Store {
			return broken{s, func(b []byte) []byte {
				if n.Add(1)%3 == 0 {
					return nil
				}
				return b
			}}
		},
		"tear":          func(s blob.Store) blob.Store { return broken{s, func(b []byte) []byte { return b[:len(b)/2] }} },
		"double":        func(s blob.Store) blob.Store { return broken{s, func(b []byte) []byte { return append(b, b...) }} },
		"flip":          func(s blob.Store) blob.Store { return broken{s, flip} },
		"overwrite":     func(s blob.Store) blob.Store { return overwriting{s} },
		"partial":       func(s blob.Store) blob.Store { return partial{s} },
		"list_twice":    func(s blob.Store) blob.Store { return repeating{s} },
		"bound_to_call": func(s blob.Store) blob.Store { return bound{s} },
		"never_delete":  func(s blob.Store) blob.Store { return keeping{s} },
	}
	for name, wrap := range cases {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for _, c := range blobtest.Checks() {
				s, err := localblob.Open(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Run(t.Context(), wrap(s)); err != nil {
					failed++
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if failed == 0 {
				t.Error("every check passes on a store that breaks its promises")
			}
		})
	}
}

func flip(b []byte) []byte {
	if len(b) > 0 {
		b[len(b)-1] ^= 1
	}
	return b
}
