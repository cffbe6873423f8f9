package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segue-music/segue/test/built"
)

// measured is one turn of a server.
type measured struct {
	bytes     int64
	cpu, wall time.Duration
}

// ask asks a server for ranges at random places, each connection for one after the other.
func ask(ctx context.Context, s server, whole, size int, http2 bool, conns int, slot time.Duration) (measured, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var bytes atomic.Int64
	var wg sync.WaitGroup
	warm := make(chan struct{}, conns)
	begin := make(chan struct{})
	var over atomic.Bool
	for n := range conns {
		wg.Go(func() {
			// A connection each: a Go client sends all of HTTP/2 over one.
			tr := &http.Transport{TLSClientConfig: s.trust.Clone(), Protocols: &http.Protocols{}}
			tr.Protocols.SetHTTP1(!http2)
			tr.Protocols.SetHTTP2(http2)
			defer tr.CloseIdleConnections()
			c := &http.Client{Transport: tr}
			r := rand.New(rand.NewPCG(uint64(n), 1)) //nolint:gosec // the same places for every server
			buf := make([]byte, 256<<10)
			one := func() bool {
				from := r.IntN(whole - size + 1)
				got, err := fetch(ctx, c, s.url, from, from+size-1, buf)
				if err == nil && got != size {
					err = fmt.Errorf("%d bytes of %d", got, size)
				}
				if err != nil {
					cancel(err)
					return false
				}
				bytes.Add(int64(size))
				return true
			}
			ok := one()
			warm <- struct{}{}
			select {
			case <-begin:
			case <-ctx.Done():
				return
			}
			for ok && !over.Load() {
				ok = one()
			}
		})
	}
	for range conns {
		<-warm
	}
	bytes.Store(0)
	cpu, start := s.cpu(), time.Now()
	close(begin)
	select {
	case <-time.After(slot):
	case <-ctx.Done():
	}
	over.Store(true)
	wg.Wait()
	m := measured{bytes.Load(), s.cpu() - cpu, time.Since(start)}
	if err := context.Cause(ctx); err != nil {
		return m, err
	}
	return m, nil
}

// fetch reads a range and throws it away.
func fetch(ctx context.Context, c *http.Client, url string, from, to int, buf []byte) (n int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusPartialContent {
		return 0, errors.New(res.Status)
	}
	for {
		k, err := res.Body.Read(buf)
		n += k
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// profile asks segue alone, and keeps where its time goes.
func profile(ctx context.Context, o options, s *built.Segue, obj *object) error {
	wait := s.Profile(ctx, o.profile, 8*time.Second)
	_, err := ask(ctx, server{"segue", s.HTTP + obj.path, s.Trust, func() time.Duration { return 0 }}, obj.size, 64<<10, false, o.conns, 10*time.Second)
	return errors.Join(err, wait())
}
