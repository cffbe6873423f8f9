//go:build system && fault

package system

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/segue-music/segue/stream/wire"
)

// eavesdropper is a way to the server on which somebody listens, and which they can cut.
type eavesdropper struct {
	front, back *net.UDPConn

	mu   sync.Mutex
	cut  bool
	seen [][]byte // datagrams of the client since the last call of keep
}

func eavesdrop(d *deployment) *eavesdropper {
	d.Helper()
	e := &eavesdropper{}
	var err error
	if e.front, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		d.Fatal(err)
	}
	to, err := net.ResolveUDPAddr("udp", d.process("edge").addr.QUIC)
	if err != nil {
		d.Fatal(err)
	}
	if e.back, err = net.DialUDP("udp", nil, to); err != nil {
		d.Fatal(err)
	}
	var client *net.UDPAddr
	var known sync.Once
	ready := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 2048)
		for {
			n, from, err := e.front.ReadFromUDP(b)
			if err != nil {
				return
			}
			known.Do(func() { client = from; close(ready) })
			e.mu.Lock()
			e.seen = append(e.seen, append([]byte(nil), b[:n]...))
			cut := e.cut
			e.mu.Unlock()
			if !cut {
				_, _ = e.back.Write(b[:n])
			}
		}
	})
	wg.Go(func() {
		b := make([]byte, 2048)
		for {
			n, err := e.back.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				<-ready
				_, _ = e.front.WriteToUDP(b[:n], client)
			}
		}
	})
	d.Cleanup(func() {
		_ = e.front.Close()
		_ = e.back.Close()
		wg.Wait()
	})
	return e
}

// keep takes what was seen, and cuts the way or opens it.
func (e *eavesdropper) keep(cut bool) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := e.seen
	e.seen, e.cut = nil, cut
	return seen
}

// drawn sends datagrams from another socket and counts the bytes that come back until
// the server has given up.
func drawn(d *deployment, ip string, datagrams [][]byte) (sent, got int) {
	d.Helper()
	to, err := net.ResolveUDPAddr("udp", d.process("edge").addr.QUIC)
	if err != nil {
		d.Fatal(err)
	}
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)}, to)
	if err != nil {
		d.Fatal(err)
	}
	defer c.Close()
	for _, b := range datagrams {
		if _, err := c.Write(b); err != nil {
			d.Fatal(err)
		}
		sent += len(b)
	}
	_ = c.SetReadDeadline(time.Now().Add(8 * time.Second)) // a handshake is given up after five
	b := make([]byte, 2048)
	for {
		n, err := c.Read(b)
		if err != nil {
			return sent, got
		}
		got += n
	}
}

// TestFault_EarlyReplay captures the first flight of a client that plays in 0-RTT, as it
// is on the wire, keeps it from the server, and sends it from elsewhere, again and again.
func TestFault_EarlyReplay(t *testing.T) {
	d := single(t)
	d.login()
	track := d.shared("Long one").ID
	admin := d.admin()
	victim := d.listener(admin, "captured")
	edge := d.process("edge")
	way := eavesdrop(d)
	conf := looseTLS()
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	conf.ServerName = "localhost"
	store := quic.NewLRUTokenStore(4, 4)
	at := way.front.LocalAddr().String()
	sock, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: sock}
	d.Cleanup(func() { _ = tr.Close(); _ = sock.Close() })
	addr, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	// The first connection brings what the second begins with.
	first, err := tr.Dial(t.Context(), addr, conf, &quic.Config{TokenStore: store})
	if err != nil {
		t.Fatal(err)
	}
	d.plays(first, d.frame(track, victim.open(false).ticket))
	_ = first.CloseWithError(0, "")

	early := d.frame(track, victim.open(false).ticket)
	early.CreditMs, early.Quality = 30_000, wire.Kbps320
	way.keep(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, err := tr.DialEarly(ctx, addr, conf, &quic.Config{TokenStore: store})
	if err != nil {
		t.Fatalf("no early data: %v", err)
	}
	st, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write(early.Append(nil)); err != nil {
		t.Fatal(err)
	}
	_ = st.Close()
	<-ctx.Done()
	flight := way.keep(true)
	if len(flight) > 4 {
		flight = flight[:4]
	}

	served := d.metric(edge, "segue_stream_served_bytes_total")
	plays := d.metric(edge, "segue_stream_early_plays_total")
	refused := d.metric(edge, "segue_streams_ended_total", `code="EARLY_REFUSED"`)
	sent, got := drawn(d, "127.0.0.1", flight)
	again, more := drawn(d, "127.0.0.1", flight)
	_, elsewhere := drawn(d, "127.0.5.5", flight)
	if n := d.metric(edge, "segue_stream_early_plays_total") - plays; n != 1 {
		d.Errorf("%v plays began early, want the first replay only", n)
	}
	if n := d.metric(edge, "segue_streams_ended_total", `code="EARLY_REFUSED"`) - refused; n < 1 {
		d.Errorf("%v streams were refused as replayed", n)
	}
	if n := d.metric(edge, "segue_stream_served_bytes_total") - served; n != 0 {
		d.Errorf("%v bytes are counted as served by a replay", n)
	}
	// 12 KB of frames once, and each time the server's handshake with what QUIC repeats of
	// it while nobody acknowledges: RFC 9002, section 6.2.
	const handshake = 12 << 10
	if got > 12<<10+handshake || more > handshake || elsewhere > 3*again {
		d.Errorf("a replay of %d bytes drew %d, the second %d, one from another address %d", sent, got, more, elsewhere)
	}
	if got < 4<<10 {
		d.Errorf("the first replay drew %d bytes: no early data was taken, nothing was tested", got)
	}
	for _, e := range d.events(d.admin(), "PlaybackStarted", "") {
		if e.UserID == victim.ID {
			d.Errorf("a play was counted: %v", e)
		}
	}
	// Whoever was captured plays on.
	way.keep(false)
	if _, _, _, err := victim.open(false).sound(track, wire.Kbps24); err != nil {
		d.Error(err)
	}
	d.Logf("captured flight of %d bytes in %d datagrams: replayed from another port it drew %d bytes (x%.1f), again %d, from another address %d; 1 early play of 3 taken, 0 bytes counted",
		sent, len(flight), got, float64(got)/float64(sent), more, elsewhere)
	quietLog(d)
}

// plays plays on a stream of a connection until a record has come.
func (d *deployment) plays(conn *quic.Conn, play *wire.Play) {
	d.Helper()
	st, err := conn.OpenStreamSync(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	if _, err := st.Write(play.Append(nil)); err != nil {
		d.Fatal(err)
	}
	if _, err := answer(st, wire.TypeRec); err != nil && !errors.Is(err, io.EOF) {
		d.Fatal(err)
	}
	st.CancelRead(quic.StreamErrorCode(wire.Cancelled))
	_ = st.Close()
}
