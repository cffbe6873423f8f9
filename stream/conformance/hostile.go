package conformance

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/segue-music/segue/stream/wire"
)

// creditNonsense gives everything, takes it back, and gives too little many times: a
// server sends 30 s ahead at most, and ends in good order.
func creditNonsense(t *testing.T, s *suite) {
	o := s.streams[wire.Kbps96]
	x := ask(t, &s.Fixture, s.dial(t), s.request(func(p *wire.Play) { p.CreditMs = 1000 }).Append(nil))
	first := allowed(o, 1000)
	x.until(first + 1)
	var flood []byte
	for _, ms := range []uint64{wire.MaxVarint, 0, 1, wire.MaxVarint - 1} {
		flood = wire.Credit{UntilMs: ms}.Append(flood)
	}
	for range 5000 {
		flood = wire.Credit{UntilMs: 2}.Append(flood)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = x.st.Write(flood) // what the server makes of it shows in what is read
		_ = x.st.Close()
	}()
	x.rest()
	<-done
	end := o.Records[first].FirstSample + uint64(o.Records[first].Samples)
	if x.end == nil || int(x.end.LastRecord) > allowed(o, end*1000/44100+30_000) {
		t.Errorf("ended with %+v, %v", x.end, x.refused)
	}
}

// garbage opens streams with bytes at random and with requests that were damaged. Each
// is refused by a code that blames the client, or is silently finished; and a good one
// after all of them is served.
func garbage(t *testing.T, s *suite) {
	r := rand.New(rand.NewPCG(4, 2)) //nolint:gosec // the same garbage each time
	good := s.request(nil).Append(nil)
	for i := range 60 {
		b := make([]byte, r.IntN(3000))
		if i%2 == 0 {
			for k := range b {
				b[k] = byte(r.Uint32())
			}
		} else {
			b = bytes.Clone(good[:1+r.IntN(len(good)-1)])
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		}
		x := ask(t, &s.Fixture, s.dial(t), b)
		_ = x.st.Close() // the server may have refused already
		f, err := x.frames.Next()
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil || f.Type != wire.TypeErr {
			t.Fatalf("%x is answered with frame %#x, %v", b, uint64(f.Type), err)
		}
		e, err := wire.ParseErr(f.Payload)
		if err != nil || (e.Code != wire.BadFrame && e.Code != wire.TicketInvalid) {
			t.Errorf("%x is refused with %v, %v", b, e, err)
		}
	}
	s.play(t, func(p *wire.Play) { p.UntilMs = 1 }).wantEnd(wire.UntilReached)
}
