package cacheblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/segue-music/segue/internal/blob"
)

// fetch is one chunk on its way from the origin. Who wants a part of it has it as soon as
// that part is here.
type fetch struct {
	mu   sync.Mutex
	come sync.Cond
	buf  []byte // what is here
	done bool
	err  error
}

// read waits for a part of the chunk.
func (f *fetch) read(piece []byte, within int64) error {
	end := int(within) + len(piece)
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.buf) < end && !f.done {
		f.come.Wait()
	}
	if len(f.buf) < end {
		return f.err
	}
	copy(piece, f.buf[within:end])
	return nil
}

// wait returns when nothing more comes.
func (f *fetch) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.done {
		f.come.Wait()
	}
}

// fetch returns the fetch of a chunk, the one under way or a new one. size says how large
// the object is, when that is known. mu is held.
func (s *Store) fetch(key string, c chunkID, size func() (int64, error)) *fetch {
	if f := s.fetching[c]; f != nil {
		return f
	}
	f := &fetch{}
	f.come.L = &f.mu
	s.fetching[c] = f
	s.running.Go(func() { s.run(key, c, size, f) })
	return f
}

// run fetches a chunk and keeps it. Its time does not end with that of anybody who waits.
func (s *Store) run(key string, c chunkID, sizeOf func() (int64, error), f *fetch) {
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
	defer cancel()
	err := s.receive(ctx, key, c, f)
	var size int64
	if err == nil {
		size, err = sizeOf()
	}
	if err == nil {
		if want := chunkLen(size, c.n); int64(len(f.buf)) != want {
			err = fmt.Errorf("origin gave %d bytes of a chunk of %d", len(f.buf), want)
		}
	}
	if err == nil {
		s.keep(c, size, f.buf)
	}
	s.metrics.fetched(err, len(f.buf))
	s.mu.Lock()
	delete(s.fetching, c)
	s.mu.Unlock()
	f.mu.Lock()
	f.done, f.err = true, err
	f.mu.Unlock()
	f.come.Broadcast()
}

// receive reads a chunk into f as it comes.
func (s *Store) receive(ctx context.Context, key string, c chunkID, f *fetch) (err error) {
	r, err := s.Store.ReadRange(ctx, key, int64(c.n)*chunkBytes, chunkBytes)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := make([]byte, 0, chunkBytes)
	for len(buf) < chunkBytes {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n > 0 {
			f.mu.Lock()
			f.buf = buf
			f.mu.Unlock()
			f.come.Broadcast()
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
	}
	return nil
}

// opening is an object of which nothing is here yet.
type opening struct {
	known chan struct{} // closed when the rest is set
	size  int64
	err   error
}

func (o *opening) wait() (int64, error) {
	<-o.known
	return o.size, o.err
}

// find asks the origin for the size of an object, once however many ask, and for its head
// at the same time: the first sound then waits for one round trip.
func (s *Store) find(ctx context.Context, key, object string) (int64, error) {
	s.mu.Lock()
	o := s.opening[object]
	if o == nil {
		o = &opening{known: make(chan struct{})}
		s.opening[object] = o
		head := s.fetch(key, chunkID{object, 0}, o.wait)
		s.running.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchLimit)
			defer cancel()
			var info blob.Info
			info, o.err = s.Stat(ctx, key)
			o.size = info.Size
			close(o.known)
			head.wait() // until then nobody needs to ask again
			s.mu.Lock()
			delete(s.opening, object)
			s.mu.Unlock()
		})
	}
	s.mu.Unlock()
	select {
	case <-o.known:
		return o.size, o.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
