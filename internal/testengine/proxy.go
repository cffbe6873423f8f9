package testengine

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// Fate is what becomes of a server's answer on its way.
type Fate int

// The fates.
const (
	Pass  Fate = iota
	Drop       // it never comes, and the connection stays
	Twice      // it comes twice
	Late       // it comes after the proxy's delay, and what follows it too
	Break      // the connection ends instead
)

// Proxy stands between a client and a server that answers each request at once, as Redis
// does, and spoils answers on purpose: the server has done what it was asked.
type Proxy struct {
	// Addr is where clients go.
	Addr string

	upstream string
	mu       sync.Mutex
	fate     func() Fate
	delay    time.Duration
	away     bool
	conns    map[net.Conn]struct{}
}

// NewProxy starts a proxy that passes everything on and ends with the test.
func NewProxy(tb Host, upstream string) *Proxy {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), upstream: upstream, conns: map[net.Conn]struct{}{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.carry(c) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		p.Away(true)
		all.Wait()
	})
	return p
}

// Spoil has fate decide over each answer from now on; nil passes all. Late ones come after
// the delay.
func (p *Proxy) Spoil(delay time.Duration, fate func() Fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.fate = delay, fate
}

// Away ends all connections and refuses new ones, until it is called with false.
func (p *Proxy) Away(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	for c := range p.conns {
		if away {
			_ = c.Close()
		}
	}
}

// take notes a connection; false when there are to be none.
func (p *Proxy) take(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

// carry serves one client.
func (p *Proxy) carry(client net.Conn) {
	defer p.drop(client)
	if !p.take(client) {
		return
	}
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.upstream)
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.take(server) {
		return
	}
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = io.Copy(server, client) // its end is seen below
		_ = server.Close()
	})
	p.answers(client, server)
	_ = client.Close()
	there.Wait()
}

func (p *Proxy) answers(client io.Writer, server io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		fate, delay := Pass, p.delay
		if p.fate != nil {
			fate = p.fate()
		}
		p.mu.Unlock()
		times := 1
		switch fate {
		case Drop:
			times = 0
		case Twice:
			times = 2
		case Late:
			<-time.After(delay)
		case Break:
			return
		default:
		}
		for range times {
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}
