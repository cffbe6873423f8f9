//go:build system && fault

package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"

	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/ticket"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
	"github.com/segue-music/segue/test/proc"
)

// TestFault_StreamTickets: tickets that ran out, that somebody made up, that are of
// another device or of a sign-in that has ended.
func TestFault_StreamTickets(t *testing.T) {
	d := single(t)
	d.login()
	track := d.shared("Long one").ID
	admin := d.admin()
	owner, thief := d.listener(admin, "owner"), d.listener(admin, "thief")
	mine, theirs := owner.open(false), thief.open(false)
	ring, err := keyring.Open(d.file("data-secrets"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := keyring.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	keys, err1 := ring.Keys(keyring.Ticket)
	foreign, err2 := other.Keys(keyring.Ticket)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	good, err := ticket.Verify(keys, mine.ticket, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	old, device, plan := good, good, good
	old.Expires = time.Now().Add(-time.Second)
	device.DeviceKeyHash[0] ^= 1
	plan.Plan, plan.MaxKbps = "premium", 9999
	bits := 0
	conn := d.dial()
	for name, c := range map[string]struct {
		ticket []byte
		want   wire.Code
	}{
		"expired":        {ticket.Mint(keys, old), wire.TicketExpired},
		"another_key":    {ticket.Mint(foreign, good), wire.TicketInvalid},
		"another_device": {ticket.Mint(foreign, device), wire.TicketInvalid},
		"another_plan":   {ticket.Mint(foreign, plan), wire.TicketInvalid},
		"empty":          {nil, wire.TicketInvalid},
		"noise":          {bytes.Repeat([]byte{0xa5}, 200), wire.TicketInvalid},
	} {
		d.refuses(conn, name, d.frame(track, c.ticket), c.want)
	}
	for i := range mine.ticket { // every byte is under the MAC
		bent := bytes.Clone(mine.ticket)
		bent[i] ^= 1 << (i % 8)
		d.refuses(conn, fmt.Sprintf("byte %d", i), d.frame(track, bent), wire.TicketInvalid)
		bits++
	}
	// A genuine ticket in the wrong hands: the sound comes sealed for its owner's device.
	head := d.headOf(mine, track)
	if _, err := seal.UnwrapKey(theirs.key, head.WrappedKey, head.ObjectID, head.SealID, head.KID, [16]byte(good.SessionID)); err == nil {
		d.Error("another device's key opens the content key")
	}
	if _, err := seal.UnwrapKey(mine.key, head.WrappedKey, head.ObjectID, head.SealID, head.KID, [16]byte(good.SessionID)); err != nil {
		d.Errorf("the owner's key does not: %v", err)
	}
	// The end of the sign-in ends what plays and refuses what begins.
	held := mine.hold(track)
	list, err := owner.Accounts.ListSessions(t.Context(), &userv1.ListSessionsRequest{})
	if err != nil || len(list.GetSessions()) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	began := time.Now()
	if _, err := owner.Accounts.RevokeSession(t.Context(), &userv1.RevokeSessionRequest{Id: list.GetSessions()[0].GetId()}); err != nil {
		t.Fatal(err)
	}
	// The client may try to renew, and is refused that too: by code, or by its own renewal.
	if err := d.ends(held, 15*time.Second); err == nil || errors.Is(err, io.EOF) {
		d.Errorf("a stream of a revoked sign-in ended with %v", err)
	}
	took := time.Since(began)
	d.refuses(conn, "revoked", d.frame(track, mine.ticket), wire.TicketInvalid)
	told := d.metric(d.process("edge"), "segue_streams_ended_total", `code="TICKET_INVALID"`)
	if told < float64(bits) {
		d.Errorf("%v refusals are in the metric, of %d", told, bits+5)
	}
	d.Logf("%d forged tickets refused, a stolen one opens nothing, a revoked sign-in's stream ended after %s; metric TICKET_INVALID %v", bits+5, took.Round(time.Millisecond), told)
	quietLog(d)
}

// refuses asks for a track and expects a refusal.
func (d *deployment) refuses(conn *quic.Conn, what string, play *wire.Play, want wire.Code) {
	d.Helper()
	st, err := conn.OpenStreamSync(d.Context())
	if err != nil {
		d.Fatalf("%s: %v", what, err)
	}
	_, _ = st.Write(play.Append(nil)) // a refusal shows in what is read
	_ = st.Close()
	if _, err := answer(st, wire.TypeHead); !errors.Is(err, &wire.Error{Code: want}) {
		d.Errorf("%s: %v, want %s", what, err, want)
	}
}

// TestFault_StreamAbuse: while people listen, others send garbage by every transport, read
// nothing, vanish, give nonsense for credit, and ask 10,000 times on one connection. The
// listeners miss no sound, the memory stays bounded, and every abuse has its answer.
func TestFault_StreamAbuse(t *testing.T) {
	d := single(t, "-quic.max-conns-per-ip=2000", "-http.rate.media-per-ip=100000+100000")
	d.login()
	track := d.shared("Long one").ID
	admin := d.admin()
	edge := d.process("edge")
	l := d.load()
	id := trackID(d, track)
	var heard [3]time.Duration
	for i := range heard {
		s := d.listener(admin, fmt.Sprintf("listens%d", i)).open(i == 2)
		l.every(fmt.Sprintf("listener %d", i), 0, func(ctx context.Context) error { return s.listens(ctx, id, &heard[i]) })
	}
	before := proc.Look(edge.cmd.Process.Pid).RSS >> 10
	for _, c := range []struct {
		name string
		run  func(*deployment, *listening)
	}{
		{"garbage", garbage},
		{"reads_nothing", readsNothing},
		{"vanishes", vanishes},
		{"nonsense_credit", nonsenseCredit},
		{"ten_thousand_plays", tenThousandPlays},
	} {
		abuser := d.listener(admin, "abuser-"+c.name[:5]).open(false)
		d.scenario(c.name, func(d *deployment) {
			began := time.Now()
			c.run(d, abuser)
			d.Logf("took %s; resident %d KiB, %d before all", time.Since(began).Round(time.Millisecond), proc.Look(edge.cmd.Process.Pid).RSS>>10, before)
		})
	}
	peak := proc.Look(edge.cmd.Process.Pid).Peak >> 10
	if peak > before+150<<10 {
		d.Errorf("the memory grew from %d to %d KiB", before, peak)
	}
	// Everyone listens for a whole track under it.
	d.until(100*time.Second, "a whole track for each listener", func() error {
		for what, n := range l.progress() {
			if n < 1 {
				return errorf("%s: %d", what, n)
			}
		}
		if n := len(l.progress()); n < len(heard) {
			return errorf("%d listeners", n)
		}
		return nil
	})
	l.end()
	l.report()
	d.Logf("listeners: tracks %v, late %v; resident %d KiB before, at most %d KiB; ended %v BAD_FRAME, %v RATE_LIMITED, %v CANCELLED",
		l.done, counts(l.failed), before, peak, d.metric(edge, "segue_streams_ended_total", "BAD_FRAME"),
		d.metric(edge, "segue_streams_ended_total", "RATE_LIMITED"), d.metric(edge, "segue_streams_ended_total", "CANCELLED"))
	quietLog(d)
}

// noise is reproducible garbage: bytes at random, and frames that are nearly good.
func noiseBytes(r *rand.Rand, good []byte) []byte {
	if r.IntN(2) == 0 {
		b := make([]byte, r.IntN(3000))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	b := bytes.Clone(good)
	for range 1 + r.IntN(4) {
		b[r.IntN(len(b))] = byte(r.Uint32())
	}
	return b[:1+r.IntN(len(b))]
}

// garbage sends it over QUIC, WebTransport and the fallback.
func garbage(d *deployment, l *listening) {
	r := rand.New(rand.NewPCG(1, 2))
	good := d.frame(l.track(), l.ticket).Append(nil)
	const each = 500
	codes := map[string]int{}
	for range each / 20 { // some of it closes the connection
		conn := d.dial()
		for range 20 {
			st, err := conn.OpenStreamSync(d.Context())
			if err != nil {
				codes["connection closed"]++
				break
			}
			_, _ = st.Write(noiseBytes(r, good))
			_ = st.Close()
			_ = st.SetReadDeadline(time.Now().Add(10 * time.Second))
			codes["quic "+outcome(st)]++
		}
		_ = conn.CloseWithError(0, "")
	}
	for range each {
		res, err := http.Post(d.URL+"/stream/v1/play", "application/x-segue-frames", bytes.NewReader(noiseBytes(r, good)))
		if err != nil {
			d.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		codes[fmt.Sprintf("fallback %d", res.StatusCode)]++
		if res.StatusCode >= 500 {
			d.Errorf("the fallback answers garbage with %s", res.Status)
		}
	}
	wt := webtransport.Transport{TLSClientConfig: looseTLS(), QUICConfig: &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true}}
	wt.TLSClientConfig.NextProtos = []string{"h3"}
	defer wt.Close()
	_, sess, err := wt.Dial(d.Context(), "https://"+d.process("edge").addr.QUIC+"/stream/v1/wt", http.Header{"Origin": {d.URL}})
	if err != nil {
		d.Fatal(err)
	}
	for range each {
		st, err := sess.OpenStreamSync(d.Context())
		if err != nil {
			d.Fatal(err)
		}
		_, _ = st.Write(noiseBytes(r, good))
		_ = st.Close()
		_ = st.SetReadDeadline(time.Now().Add(10 * time.Second))
		codes["webtransport "+outcome(st)]++
	}
	_ = sess.CloseWithError(0, "")
	d.Logf("answers %v", codes)
	for _, transport := range []string{"quic", "webtransport"} {
		if codes[transport+" "+wire.BadFrame.String()] == 0 {
			d.Errorf("%s answers no garbage with %s", transport, wire.BadFrame)
		}
		if n := codes[transport+" "+wire.Internal.String()]; n > 0 {
			d.Errorf("%s answers garbage %d times with an internal error", transport, n)
		}
	}
}

// outcome reads a stream to its end and names it.
func outcome(r io.Reader) string {
	_, err := answer(r, wire.TypeEnd)
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		return e.Code.String()
	case err == nil:
		return "END"
	case errors.Is(err, io.EOF):
		return "nothing"
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "silence"
	}
	return "reset"
}

// track is the one that is on the server.
func (l *listening) track() string { return l.p.d.made["Long one"].ID }

// readsNothing opens as many streams as it may, 30 s of the best quality each, on many
// connections, and reads none of them.
func readsNothing(d *deployment, l *listening) {
	var conns []*quic.Conn
	for range 40 {
		conn, err := quic.DialAddr(d.Context(), d.process("edge").addr.QUIC, looseTLS(), &quic.Config{
			InitialStreamReceiveWindow: 16 << 10, MaxStreamReceiveWindow: 16 << 10,
		})
		if err != nil {
			d.Fatal(err)
		}
		conns = append(conns, conn)
		for range 16 {
			st, err := conn.OpenStreamSync(d.Context())
			if err != nil {
				d.Fatal(err)
			}
			play := d.frame(l.track(), l.ticket)
			play.Quality, play.CreditMs = wire.Kbps320, 30_000
			if _, err := st.Write(play.Append(nil)); err != nil {
				d.Fatal(err)
			}
		}
	}
	limited := d.metric(d.process("edge"), "segue_streams_ended_total", "RATE_LIMITED")
	d.until(20*time.Second, "the bound of a session", func() error {
		if n := d.metric(d.process("edge"), "segue_streams_ended_total", "RATE_LIMITED"); n < 500 {
			return errorf("%v refused (%v at first)", n, limited)
		}
		return nil
	})
	for _, c := range conns {
		_ = c.CloseWithError(0, "")
	}
}

// vanishes begins plays and is gone: no close, no reset, a dead socket.
func vanishes(d *deployment, l *listening) {
	edge := d.process("edge")
	for range 60 {
		sock, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			d.Fatal(err)
		}
		tr := &quic.Transport{Conn: sock}
		addr, err := net.ResolveUDPAddr("udp", edge.addr.QUIC)
		if err != nil {
			d.Fatal(err)
		}
		conn, err := tr.Dial(d.Context(), addr, looseTLS(), nil)
		if err != nil {
			d.Fatal(err)
		}
		for range 4 {
			st, err := conn.OpenStreamSync(d.Context())
			if err == nil {
				_, _ = st.Write(d.frame(l.track(), l.ticket).Append(nil))
			}
		}
		_ = sock.Close() // before the transport: nothing can be said any more
		_ = tr.Close()
	}
	// The idle timeout of a minute ends them; until then the session's bound holds.
	if n := d.metric(edge, "segue_stream_connections"); n > 200 {
		d.Errorf("%v connections", n)
	}
	conn := d.dial()
	st, err := conn.OpenStreamSync(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	_, _ = st.Write(d.frame(l.track(), l.ticket).Append(nil))
	if _, err := answer(st, wire.TypeHead); err != nil && !errors.Is(err, &wire.Error{Code: wire.RateLimited}) {
		d.Errorf("the next play of the same session: %v", err)
	}
	d.until(90*time.Second, "the end of who vanished", func() error {
		if n := d.metric(edge, "segue_stream_connections"); n > 8 {
			return errorf("%v connections", n)
		}
		return nil
	})
}

// nonsenseCredit gives too much, too little, a flood of it, and then what is no credit.
func nonsenseCredit(d *deployment, l *listening) {
	conn := d.dial()
	open := func() *quic.Stream {
		st, err := conn.OpenStreamSync(d.Context())
		if err != nil {
			d.Fatal(err)
		}
		play := d.frame(l.track(), l.ticket)
		play.CreditMs = 1000
		if _, err := st.Write(play.Append(nil)); err != nil {
			d.Fatal(err)
		}
		return st
	}
	st := open()
	for _, ms := range []uint64{wire.MaxVarint, 0, 1, wire.MaxVarint - 1} {
		_, _ = st.Write(wire.Credit{UntilMs: ms}.Append(nil))
	}
	for range 20_000 {
		if _, err := st.Write(wire.Credit{UntilMs: 2}.Append(nil)); err != nil {
			break
		}
	}
	_ = st.Close()
	_ = st.SetReadDeadline(time.Now().Add(20 * time.Second))
	sent, err := io.Copy(io.Discard, st)
	// 24 kbit/s: a track of 45 s has some 140 KB, and 31 s of it are allowed.
	if err != nil || sent > 200<<10 {
		d.Errorf("a flood of credit: %d bytes, %v", sent, err)
	}
	for name, b := range map[string][]byte{"half": {2, 9, 1}, "empty": {2, 0}, "PLAY": d.frame(l.track(), l.ticket).Append(nil)} {
		st := open()
		_, _ = st.Write(b)
		_ = st.Close()
		_ = st.SetReadDeadline(time.Now().Add(20 * time.Second))
		if got := outcome(st); got != wire.BadFrame.String() {
			d.Errorf("%s for a credit: %s", name, got)
		}
	}
}

// tenThousandPlays asks on one connection, 32 at a time, and stops each at its first
// record.
func tenThousandPlays(d *deployment, l *listening) {
	conn := d.dial()
	const plays, at = 10_000, 12
	var mu sync.Mutex
	codes := map[string]int{}
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			for range plays / at {
				st, err := conn.OpenStreamSync(d.Context())
				if err != nil {
					d.Errorf("open: %v", err)
					return
				}
				_, _ = st.Write(d.frame(l.track(), l.ticket).Append(nil))
				_ = st.SetReadDeadline(time.Now().Add(20 * time.Second))
				_, err = answer(st, wire.TypeRec)
				st.CancelRead(quic.StreamErrorCode(wire.Cancelled))
				_ = st.Close()
				name := "played"
				var e *wire.Error
				if errors.As(err, &e) {
					name = e.Code.String()
				} else if err != nil {
					name = "other: " + err.Error()
				}
				mu.Lock()
				codes[name]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	d.Logf("%d plays on one connection: %v", plays/at*at, codes)
	if codes["played"] < plays/2 {
		d.Errorf("answers %v", codes)
	}
	for name := range codes {
		if name != "played" && name != wire.RateLimited.String() {
			d.Errorf("%d plays ended with %s", codes[name], name)
		}
	}
}
