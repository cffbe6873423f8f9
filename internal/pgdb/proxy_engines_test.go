//go:build engines

package pgdb_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
)

// side is where the proxy loses a message.
type side int

const (
	there side = iota + 1 // the commit does not reach the server
	back                  // its answer does not reach the client
)

// proxy stands between a client and the server and cuts one connection at a commit.
type proxy struct {
	addr string
	mu   sync.Mutex
	cut  side
	n    int
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(func() { _ = l.Close() })
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(t.Context(), client, server) })
		}
	})
	return p
}

// cutAtCommit arms the proxy for the next commit.
func (p *proxy) cutAtCommit(s side) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = s
}

func (p *proxy) cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// take is the side to cut at, once.
func (p *proxy) take() side {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.cut
	if p.cut = 0; s != 0 {
		p.n++
	}
	return s
}

func (p *proxy) serve(ctx context.Context, client net.Conn, server string) {
	defer client.Close()
	upstream, err := new(net.Dialer).DialContext(ctx, "tcp", server)
	if err != nil {
		return
	}
	defer upstream.Close()
	lost := make(chan struct{}) // closed when no answer reaches the client any more
	go func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := upstream.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-lost:
				return // the answer to the commit, and so it is done
			default:
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], []byte("COMMIT")) {
			switch p.take() {
			case there:
				return
			case back:
				close(lost)
			}
		}
		if _, err := upstream.Write(buf[:n]); err != nil {
			return
		}
	}
}
