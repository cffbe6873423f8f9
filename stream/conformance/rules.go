package conformance

import (
	"bytes"
	"testing"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/stream/wire"
)

// allowed is the last record that credit up to ms lets a server send.
func allowed(o *ogg.Stream, ms uint64) int {
	last := 0
	for i, r := range o.Records {
		if r.FirstSample < ms*44100/1000 {
			last = i
		}
	}
	return last
}

func creditEnforced(t *testing.T, s *suite) {
	o := s.streams[wire.Kbps96]
	x := ask(t, &s.Fixture, s.dial(t), s.request(func(p *wire.Play) { p.CreditMs = 3000 }).Append(nil))
	x.until(allowed(o, 3000) + 1)
	x.credit(5000)
	x.until(allowed(o, 5000) + 1)
	x.credit(4000) // takes nothing back and gives nothing
	// What is sent without credit would come before END.
	_ = x.st.Close() // the server may have answered and finished already
	x.rest().wantEnd(wire.UntilReached)
	if got := int(x.end.LastRecord); got != allowed(o, 5000) {
		t.Errorf("sent up to record %d, allowed is %d", got, allowed(o, 5000))
	}
	x.plain(o)
}

// creditBounded gives more than a server may take: 30 s are the most.
func creditBounded(t *testing.T, s *suite) {
	o := s.streams[wire.Kbps96]
	x := ask(t, &s.Fixture, s.dial(t), s.request(func(p *wire.Play) { p.CreditMs = 1000 }).Append(nil))
	first := allowed(o, 1000)
	x.until(first + 1)
	x.credit(wire.MaxVarint)
	end := o.Records[first].FirstSample + uint64(o.Records[first].Samples)
	limit := allowed(o, end*1000/44100+30_000)
	_ = x.st.Close() // the server may have answered and finished already
	x.rest()
	if x.end == nil || int(x.end.LastRecord) > limit {
		t.Errorf("sent up to %+v, 30 s ahead is record %d", x.end, limit)
	}
	y := s.play(t, func(p *wire.Play) { p.CreditMs = 1 << 30 })
	if y.end == nil || int(y.end.LastRecord) > allowed(o, 30_000) {
		t.Errorf("PLAY was sent up to %+v", y.end)
	}
}

func finishedSide(t *testing.T, s *suite) {
	o := s.streams[wire.Kbps96]
	x := s.play(t, nil) // 10 s are the default
	x.wantEnd(wire.UntilReached)
	if got := int(x.end.LastRecord); got != allowed(o, 10_000) {
		t.Errorf("sent up to record %d, want %d", got, allowed(o, 10_000))
	}
	// Going on inside the next record gives just what comes next.
	last := o.Records[x.end.LastRecord]
	from := (last.FirstSample+uint64(last.Samples)+2048)*1000/44100 + 1
	y := s.play(t, func(p *wire.Play) { p.FromMs = from })
	if y.head.FirstRecord != x.end.LastRecord+1 {
		t.Errorf("goes on with record %d after %d", y.head.FirstRecord, x.end.LastRecord)
	}
}

func unknownSkipped(t *testing.T, s *suite) {
	unknown := []byte{0x30, 3, 1, 2, 3, 0x40, 0x42, 0, 0x3f, 0}
	b := append(unknown, s.request(func(p *wire.Play) { p.UntilMs = 1 }).Append(nil)...)
	x := ask(t, &s.Fixture, s.dial(t), b)
	_ = x.st.Close() // the server may have answered and finished already
	x.rest().wantEnd(wire.UntilReached)
}

func malformed(t *testing.T, s *suite) {
	good := s.request(nil).Append(nil)
	version := bytes.Clone(good)
	_, n := wire.Varint(good[1:])
	version[1+n] = 9
	payload := good[1+n:]
	longer := append(wire.AppendVarint([]byte{0x01}, uint64(len(payload)+1)), append(bytes.Clone(payload), 0)...)
	for name, b := range map[string][]byte{
		"nothing":           {},
		"half a frame":      good[:len(good)/2],
		"length missing":    {0x01},
		"empty PLAY":        {0x01, 0},
		"another version":   version,
		"bytes left over":   longer,
		"credit first":      wire.Credit{UntilMs: 5}.Append(nil),
		"server's frame":    wire.End{}.Append(nil),
		"critical":          append([]byte{0x40, 0x43, 0}, good...),
		"too large":         append(wire.AppendVarint([]byte{0x01}, wire.MaxFirst+1), make([]byte, wire.MaxFirst+1)...),
		"huge":              wire.AppendVarint([]byte{0x01}, wire.MaxVarint),
		"skipped too large": append(append(wire.AppendVarint([]byte{0x30}, wire.MaxFirst), make([]byte, wire.MaxFirst)...), good...),
		"no play id":        s.request(func(p *wire.Play) { p.PlayID = [16]byte{} }).Append(nil),
		"many setups":       s.request(func(p *wire.Play) { p.Have = make([][8]byte, 17) }).Append(nil),
	} {
		t.Run(name, func(t *testing.T) {
			x := ask(t, &s.Fixture, s.dial(t), b)
			_ = x.st.Close() // the server may have refused already
			x.rest().wantCode(wire.BadFrame)
		})
	}
}

func malformedLater(t *testing.T, s *suite) {
	for name, b := range map[string][]byte{
		"second PLAY":  s.request(nil).Append(nil),
		"empty CREDIT": {0x02, 0},
		"long CREDIT":  {0x02, 2, 1, 1},
		"critical":     {0x40, 0x41, 0},
		"huge":         wire.AppendVarint([]byte{0x02}, wire.MaxClient+1),
		"cut off":      {0x02, 4, 1},
	} {
		t.Run(name, func(t *testing.T) {
			x := ask(t, &s.Fixture, s.dial(t), s.request(func(p *wire.Play) { p.CreditMs = 1000 }).Append(nil))
			x.until(1)
			_, _ = x.st.Write(b)
			_ = x.st.Close()
			x.rest().wantCode(wire.BadFrame)
		})
	}
}

func refusals(t *testing.T, s *suite) {
	for name, c := range map[string]struct {
		change func(*wire.Play)
		code   wire.Code
	}{
		"expired":       {func(p *wire.Play) { p.Ticket = s.Expired }, wire.TicketExpired},
		"foreign":       {func(p *wire.Play) { p.Ticket = s.Foreign }, wire.TicketInvalid},
		"no ticket":     {func(p *wire.Play) { p.Ticket = nil }, wire.TicketInvalid},
		"changed":       {func(p *wire.Play) { p.Ticket = append(bytes.Clone(s.Ticket[1:]), 'x') }, wire.TicketInvalid},
		"no such track": {func(p *wire.Play) { p.Track = [16]byte{0xff, 1} }, wire.NotFound},
		"only Opus":     {func(p *wire.Play) { p.Codecs = wire.Opus.Set() }, wire.QualityUnavailable},
	} {
		t.Run(name, func(t *testing.T) { s.play(t, c.change).wantCode(c.code) })
	}
}

// fenced ends at the next CREDIT, and sends nothing more.
func fenced(code wire.Code) func(*testing.T, *suite) {
	return func(t *testing.T, s *suite) {
		o := s.streams[wire.Kbps96]
		x := ask(t, &s.Fixture, s.dial(t), s.request(func(p *wire.Play) { p.CreditMs = 2000 }).Append(nil))
		x.until(allowed(o, 2000) + 1)
		s.Fence(code)
		t.Cleanup(func() { s.Fence(0) })
		x.credit(12_000)
		x.rest().wantCode(code)
		if got := len(x.records) - 1; got != allowed(o, 2000) {
			t.Errorf("sent up to record %d after the fence", got)
		}
	}
}

// cancelled streams leave the connection as it was.
func cancelled(t *testing.T, s *suite) {
	c := s.dial(t)
	for range 20 {
		x := ask(t, &s.Fixture, c, s.request(nil).Append(nil))
		x.until(1)
		x.st.Cancel(wire.Cancelled)
	}
	x := ask(t, &s.Fixture, c, s.request(func(p *wire.Play) { p.FromMs, p.UntilMs = 5000, 6000 }).Append(nil))
	x.rest().wantEnd(wire.UntilReached)
}

// silentStreams opens streams that say nothing: nine are one too many before a ticket.
func silentStreams(t *testing.T, s *suite) {
	c := s.dial(t)
	var silent []*exchange
	for range 8 {
		silent = append(silent, ask(t, &s.Fixture, c, []byte{0x01}))
	}
	// All streams are asked at once: whichever is the ninth to arrive is refused.
	last := ask(t, &s.Fixture, c, []byte{0x01})
	done := make(chan wire.Code, 9)
	for _, x := range append(silent, last) {
		go func() {
			f, err := x.frames.Next()
			if err != nil || f.Type != wire.TypeErr {
				done <- 0
				return
			}
			e, err := wire.ParseErr(f.Payload)
			if err != nil {
				done <- 0
				return
			}
			done <- e.Code
		}()
	}
	if code := <-done; code != wire.RateLimited {
		t.Errorf("the first to end has %s", code)
	}
}

func servedCounted(t *testing.T, s *suite) {
	id := [16]byte{0xab}
	x := ask(t, &s.Fixture, s.dial(t), s.request(func(p *wire.Play) { p.PlayID, p.UntilMs = id, 4000 }).Append(nil))
	x.rest().wantEnd(wire.UntilReached)
	o := s.streams[wire.Kbps96]
	var samples, size uint64
	for _, r := range x.records {
		samples += uint64(o.Records[r.Number].Samples)
		size += uint64(len(r.Ciphertext))
	}
	want := samples * 1000 / 44100
	eventually(t, func() bool {
		ms, n := s.Served(id)
		return ms == want && n > size
	}, func() any { ms, n := s.Served(id); return []uint64{ms, n, want, size} })
}
