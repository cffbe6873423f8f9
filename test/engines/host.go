package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/segue-music/segue/internal/testengine"
)

// host is for whom one engine runs, in the place of a test.
type host struct {
	ctx  context.Context //nolint:containedctx // what testing.T has
	name string
	data string

	mu       sync.Mutex
	cleanups []func()
	err      error
}

var _ testengine.Host = (*host)(nil)

// do calls f, which may end early by Fatal, and tells why it did.
func (h *host) do(f func()) error {
	done := make(chan struct{})
	go func() { // Goexit ends only this
		defer close(done)
		f()
	}()
	<-done
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// end undoes everything, the last first.
func (h *host) end() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
}

func (h *host) Helper()                  {}
func (h *host) Context() context.Context { return h.ctx }

func (h *host) TempDir() string {
	dir, err := os.MkdirTemp(h.data, h.name+"-")
	if err != nil {
		h.Fatal(err)
	}
	return dir
}

func (h *host) Cleanup(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cleanups = append(h.cleanups, f)
}

func (h *host) Failed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err != nil
}

func (h *host) Log(args ...any)                 { log.Println(args...) }
func (h *host) Logf(format string, args ...any) { log.Printf(format, args...) }
func (h *host) Skip(args ...any)                { h.Fatal(args...) }
func (h *host) Fatal(args ...any)               { h.fail(fmt.Sprint(args...)) }
func (h *host) Fatalf(format string, args ...any) {
	h.fail(fmt.Sprintf(format, args...))
}

func (h *host) fail(text string) {
	h.mu.Lock()
	h.err = errors.Join(h.err, fmt.Errorf("%s: %s", h.name, text))
	h.mu.Unlock()
	runtime.Goexit()
}
