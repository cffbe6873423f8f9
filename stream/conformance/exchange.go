package conformance

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// exchange is one stream of a test.
type exchange struct {
	tb     testing.TB
	fix    *Fixture
	st     Stream
	frames *wire.Reader

	head    *wire.Head
	records []wire.Rec
	index   *wire.Index
	audioAt int // records that were there when the index came
	end     *wire.End
	refused *wire.Error
}

// ask opens a stream and sends b.
func ask(tb testing.TB, fix *Fixture, c Conn, b []byte) *exchange {
	tb.Helper()
	st := c.Open(tb)
	// A server may refuse before it has read everything.
	_, _ = st.Write(b)
	return &exchange{tb: tb, fix: fix, st: st, frames: wire.NewReader(st, wire.MaxServer)}
}

// request is a PLAY that is in order.
func (f *Fixture) request(change func(*wire.Play)) *wire.Play {
	p := &wire.Play{
		Track: f.Track, PlayID: [16]byte{1}, Quality: wire.Kbps96, Codecs: wire.Vorbis.Set(), Ticket: f.Ticket,
	}
	if change != nil {
		change(p)
	}
	return p
}

// next takes one frame and reports whether it was the last.
func (x *exchange) next() (last bool) {
	x.tb.Helper()
	f, err := x.frames.Next()
	if err != nil {
		x.tb.Fatalf("read frame: %v", err)
	}
	switch f.Type {
	case wire.TypeHead:
		x.head, err = wire.ParseHead(f.Payload)
	case wire.TypeRec:
		var r wire.Rec
		if r, err = wire.ParseRec(f.Payload); err == nil {
			r.Ciphertext = bytes.Clone(r.Ciphertext)
			x.records = append(x.records, r)
		}
	case wire.TypeIndex:
		x.index, err = wire.ParseIndex(f.Payload)
		x.audioAt = len(x.records)
	case wire.TypeEnd:
		var e wire.End
		e, err = wire.ParseEnd(f.Payload)
		x.end, last = &e, true
	case wire.TypeErr:
		x.refused, err = wire.ParseErr(f.Payload)
		last = true
	default:
		x.tb.Fatalf("frame %#x", uint64(f.Type))
	}
	if err != nil {
		x.tb.Fatal(err)
	}
	if (x.head == nil) != (x.refused != nil && x.head == nil) {
		x.tb.Fatalf("frame %#x before HEAD", uint64(f.Type))
	}
	return last
}

// rest takes everything up to the end of the stream, and demands that it is finished.
func (x *exchange) rest() *exchange {
	x.tb.Helper()
	for !x.next() {
	}
	if _, err := x.frames.Next(); !errors.Is(err, io.EOF) {
		x.tb.Fatalf("after the last frame: %v", err)
	}
	return x
}

// until takes frames until there are n records.
func (x *exchange) until(n int) {
	x.tb.Helper()
	for len(x.records) < n {
		if x.next() {
			x.tb.Fatalf("ended after %d records of %d: %v %v", len(x.records), n, x.end, x.refused)
		}
	}
}

func (x *exchange) credit(untilMs uint64) {
	_, _ = x.st.Write(wire.Credit{UntilMs: untilMs}.Append(nil)) // a refusal shows in what is read
}

func (x *exchange) wantCode(code wire.Code) {
	x.tb.Helper()
	if x.refused == nil || x.refused.Code != code {
		x.tb.Errorf("ended with %v, %+v, want %s", x.refused, x.end, code)
	}
}

func (x *exchange) wantEnd(reason wire.Reason) {
	x.tb.Helper()
	if x.end == nil || x.end.Reason != reason {
		x.tb.Fatalf("ended with %v, %+v, want reason %d", x.refused, x.end, reason)
	}
	if n := len(x.records); n > 0 && x.end.LastRecord != x.records[n-1].Number {
		x.tb.Errorf("END says record %d, last was %d", x.end.LastRecord, x.records[n-1].Number)
	}
}

// plain decrypts the records and demands that they are those of want, in order.
func (x *exchange) plain(want *ogg.Stream) []byte {
	x.tb.Helper()
	h := x.head
	base, err := seal.UnwrapKey(x.fix.SessionKey, h.WrappedKey, h.ObjectID, h.SealID, h.KID, x.fix.SessionID)
	if err != nil {
		x.tb.Fatal(err)
	}
	opener, err := seal.NewOpener(base, h.SealID, h.KID, uint32(h.RecordCount))
	if err != nil {
		x.tb.Fatal(err)
	}
	var out []byte
	for i, r := range x.records {
		if r.Number != h.FirstRecord+uint64(i) {
			x.tb.Fatalf("record %d at place %d after %d", r.Number, i, h.FirstRecord)
		}
		pages, err := opener.Open(nil, uint32(r.Number), r.Ciphertext)
		if err != nil {
			x.tb.Fatal(err)
		}
		if !bytes.Equal(pages, want.Records[r.Number].Pages) {
			x.tb.Fatalf("record %d holds other pages", r.Number)
		}
		out = append(out, pages...)
	}
	return out
}
