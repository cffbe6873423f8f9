package stream

import (
	"container/list"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/wire"
)

// openTimeout bounds the opening of an object, for which several plays may wait.
const openTimeout = 10 * time.Second

// objects holds sealed objects open, with their index parsed. It forgets the one that
// was not used for longest; what is in use stays open until its last user closes it.
type objects struct {
	blobs blob.Store
	limit int

	mu    sync.Mutex
	byID  map[[16]byte]*held
	order list.List // of *held, the last used in front
}

// held is one object. refs counts its users and, while it is in byID, the cache.
type held struct {
	id    [16]byte
	ready chan struct{} // closed when the fields below are set
	blob  blob.Object
	open  *seal.Opened
	err   error

	refs  int
	place *list.Element
}

func newObjects(b blob.Store, limit int) *objects {
	return &objects{blobs: b, limit: limit, byID: map[[16]byte]*held{}}
}

// Open implements [server.Objects].
func (o *objects) Open(ctx context.Context, id [16]byte) (server.Object, error) {
	return o.get(ctx, id)
}

func (o *objects) get(ctx context.Context, id [16]byte) (*object, error) {
	o.mu.Lock()
	h := o.byID[id]
	if h == nil {
		h = &held{id: id, ready: make(chan struct{}), refs: 1}
		h.place = o.order.PushFront(h)
		o.byID[id] = h
		// Several may wait for it: it does not end with the first of them.
		go o.load(context.WithoutCancel(ctx), h)
	} else {
		o.order.MoveToFront(h.place)
	}
	h.refs++
	evicted := o.evict()
	o.mu.Unlock()
	for _, e := range evicted {
		o.release(e)
	}
	select {
	case <-h.ready:
	case <-ctx.Done():
		o.release(h)
		return nil, context.Cause(ctx)
	}
	if h.err != nil {
		o.release(h)
		return nil, h.err
	}
	return &object{cache: o, h: h}, nil
}

// evict takes what is over the limit out of the cache; mu is held.
func (o *objects) evict() (out []*held) {
	for o.order.Len() > o.limit {
		out = append(out, o.drop(o.order.Back().Value.(*held)))
	}
	return out
}

func (o *objects) drop(h *held) *held {
	o.order.Remove(h.place)
	delete(o.byID, h.id)
	return h
}

func (o *objects) load(ctx context.Context, h *held) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	h.blob, h.open, h.err = openObject(ctx, o.blobs, h.id)
	if h.err != nil {
		o.mu.Lock()
		cached := o.byID[h.id] == h
		if cached {
			o.drop(h) // a failure is not remembered
		}
		o.mu.Unlock()
		close(h.ready)
		if cached {
			o.release(h)
		}
		return
	}
	close(h.ready)
}

// away is what a listener is told while the store of the objects cannot be read.
func away() *wire.Error {
	return &wire.Error{Code: wire.Internal, RetryAfter: time.Second, Text: "the sound cannot be read now"}
}

func openObject(ctx context.Context, blobs blob.Store, id [16]byte) (blob.Object, *seal.Opened, error) {
	b, err := blobs.Open(ctx, "objects/"+hex.EncodeToString(id[:]))
	if errors.Is(err, blob.ErrNotFound) {
		return nil, nil, fmt.Errorf("%w: %w", wire.Errorf(wire.NotFound, "object is not here"), err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open object: %w: %w", away(), err)
	}
	o, err := seal.OpenObject(b, b.Size())
	if errors.Is(err, seal.ErrObject) {
		return nil, nil, errors.Join(fmt.Errorf("read object %x: %w", id, err), b.Close())
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read object %x: %w: %w", id, away(), err), b.Close())
	}
	return b, o, nil
}

func (o *objects) release(h *held) {
	o.mu.Lock()
	h.refs--
	last := h.refs == 0
	o.mu.Unlock()
	if last {
		<-h.ready
		if h.blob != nil {
			_ = h.blob.Close() // it was only read
		}
	}
}

// close forgets everything.
func (o *objects) close() {
	o.mu.Lock()
	var all []*held
	for o.order.Len() > 0 {
		all = append(all, o.drop(o.order.Back().Value.(*held)))
	}
	o.mu.Unlock()
	for _, h := range all {
		o.release(h)
	}
}

// object is one use of a held object.
type object struct {
	cache *objects
	h     *held
	once  sync.Once
}

func (o *object) Opened() *seal.Opened { return o.h.open }
func (o *object) Size() int64          { return o.h.blob.Size() }
func (o *object) Close() error         { o.once.Do(func() { o.cache.release(o.h) }); return nil }

func (o *object) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.h.blob.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", away(), err)
	}
	return n, err
}
