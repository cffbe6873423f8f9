package wire_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/stream/wire"
)

// The examples of RFC 9000, appendix A.1.
func TestVarint_RFC9000(t *testing.T) {
	for _, c := range []struct {
		b []byte
		v uint64
	}{
		{[]byte{0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c}, 151288809941952652},
		{[]byte{0x9d, 0x7f, 0x3e, 0x7d}, 494878333},
		{[]byte{0x7b, 0xbd}, 15293},
		{[]byte{0x25}, 37},
		{[]byte{0x40, 0x25}, 37},
	} {
		v, n := wire.Varint(c.b)
		if v != c.v || n != len(c.b) {
			t.Errorf("Varint(%x) = %d, %d", c.b, v, n)
		}
		if _, n := wire.Varint(c.b[:len(c.b)-1]); n != 0 {
			t.Errorf("Varint(%x) of a part took %d", c.b, n)
		}
		if got := wire.AppendVarint(nil, c.v); len(got) != wire.VarintLen(c.v) {
			t.Errorf("VarintLen(%d) is not %d", c.v, len(got))
		}
	}
	for _, d := range []int64{0, -1, 1, math.MaxInt32, math.MinInt32} {
		if got := wire.Unzigzag(wire.Zigzag(d)); got != d {
			t.Errorf("zigzag of %d is %d", d, got)
		}
	}
}

func one(t *testing.T, b []byte) wire.Frame {
	t.Helper()
	r := wire.NewReader(bytes.NewReader(b), wire.MaxServer)
	f, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("after the frame: %v", err)
	}
	if r.Bytes() != uint64(len(b)) {
		t.Errorf("read %d bytes of %d", r.Bytes(), len(b))
	}
	return f
}

func TestFrames_RoundTrip(t *testing.T) {
	check := func(want any, b []byte, typ wire.Type, parse func([]byte) (any, error)) {
		t.Helper()
		f := one(t, b)
		if f.Type != typ {
			t.Fatalf("type %#x, want %#x", f.Type, typ)
		}
		got, err := parse(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%T: %s", want, d)
		}
		// No payload may be cut, and only "rest" fields may be longer.
		for n := range len(f.Payload) {
			if _, err := parse(f.Payload[:n]); err == nil && !hasRest(typ) {
				t.Errorf("%T of %d bytes passed", want, n)
			}
		}
		if _, err := parse(append(f.Payload[:len(f.Payload):len(f.Payload)], 0)); err == nil && !hasRest(typ) {
			t.Errorf("%T with a byte more passed", want)
		}
	}
	play := examplePlay()
	check(play, play.Append(nil), wire.TypePlay, func(b []byte) (any, error) { return wire.ParsePlay(b) })
	head := exampleHead()
	check(head, head.Append(nil), wire.TypeHead, func(b []byte) (any, error) { return wire.ParseHead(b) })
	credit := wire.Credit{UntilMs: 70000}
	check(credit, credit.Append(nil), wire.TypeCredit, func(b []byte) (any, error) { return wire.ParseCredit(b) })
	watch := &wire.Watch{Since: 9, Ticket: []byte("t")}
	check(watch, watch.Append(nil), wire.TypeWatch, func(b []byte) (any, error) { return wire.ParseWatch(b) })
	rec := wire.Rec{Number: 300, Ciphertext: bytes.Repeat([]byte{7}, 200<<10)}
	check(rec, rec.Append(nil), wire.TypeRec, func(b []byte) (any, error) { return wire.ParseRec(b) })
	index := &wire.Index{Offset: 4444, Records: []wire.Span{{5300, 11025}, {5200, 11072}, {80, 4}}}
	check(index, index.Append(nil), wire.TypeIndex, func(b []byte) (any, error) { return wire.ParseIndex(b) })
	if f := one(t, index.Append(nil)); len(f.Payload) != index.Size() {
		t.Errorf("index of %d bytes says %d", len(f.Payload), index.Size())
	}
	end := wire.End{Reason: wire.UntilReached, LastRecord: 99}
	check(end, end.Append(nil), wire.TypeEnd, func(b []byte) (any, error) { return wire.ParseEnd(b) })
	refusal := &wire.Error{Code: wire.RateLimited, RetryAfter: 3 * time.Second, Text: "slow down"}
	check(refusal, refusal.Append(nil), wire.TypeErr, func(b []byte) (any, error) { return wire.ParseErr(b) })
	state := wire.State{Revision: 4, Player: []byte{1, 2}}
	check(state, state.Append(nil), wire.TypeState, func(b []byte) (any, error) { return wire.ParseState(b) })
}

func hasRest(t wire.Type) bool {
	return t == wire.TypeRec || t == wire.TypeErr || t == wire.TypeState
}

func examplePlay() *wire.Play {
	return &wire.Play{
		Flags: wire.Prefetch | wire.NoIndex, Track: [16]byte{1}, PlayID: [16]byte{2}, Quality: wire.Kbps160,
		Codecs: wire.Vorbis.Set() | wire.Opus.Set(), FromMs: 61000, UntilMs: 1 << 33, CreditMs: 10000,
		Have: [][8]byte{{1}, {2}}, Ticket: bytes.Repeat([]byte{9}, 96),
	}
}

func exampleHead() *wire.Head {
	return &wire.Head{
		ObjectID: [16]byte{1}, SealID: [16]byte{2}, KID: 1, WrappedKey: bytes.Repeat([]byte{3}, 44),
		Codec: wire.Vorbis, Rate: 44100, Channels: 2, TotalSamples: 9436113, RecordCount: 856,
		FirstRecord: 3, FirstSample: 34000, GainTrack: -1800, GainAlbum: -1700, Peak: -12,
		SetupID: [8]byte{4}, Setup: []byte("setup"), CDN: "/o/{object}?t=x",
	}
}

func TestReader_Refuses(t *testing.T) {
	big := wire.AppendVarint(wire.AppendVarint(nil, 1), wire.MaxClient+1)
	for name, b := range map[string][]byte{
		"too large":        big,
		"critical":         {0x40, 0x41, 0},
		"critical high":    {0x80, 0, 1, 1, 1, 0},
		"skipped past max": wire.AppendVarint(wire.AppendVarint(nil, 0x30), wire.MaxClient+1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wire.NewReader(bytes.NewReader(b), wire.MaxClient).Next()
			if wire.CodeOf(err) != wire.BadFrame {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("cut", func(t *testing.T) {
		b := examplePlay().Append(nil)
		for n := 1; n < len(b); n++ {
			_, err := wire.NewReader(bytes.NewReader(b[:n]), wire.MaxClient).Next()
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	})
	t.Run("unknown is skipped", func(t *testing.T) {
		b := append([]byte{0x3f, 2, 1, 1, 0x40, 0x42, 0}, wire.End{}.Append(nil)...)
		f, err := wire.NewReader(bytes.NewReader(b), wire.MaxClient).Next()
		if err != nil || f.Type != wire.TypeEnd {
			t.Errorf("got %v, %v", f, err)
		}
	})
	t.Run("bound", func(t *testing.T) {
		b := append(bytes.Repeat([]byte{0x30, 0}, 600), examplePlay().Append(nil)...)
		r := wire.NewReader(bytes.NewReader(b), wire.MaxClient)
		r.Bound(wire.MaxFirst)
		if _, err := r.Next(); wire.CodeOf(err) != wire.BadFrame {
			t.Errorf("got %v", err)
		}
	})
}

func TestParsePlay_Refuses(t *testing.T) {
	for name, change := range map[string]func(*wire.Play){
		"many setups": func(p *wire.Play) { p.Have = make([][8]byte, 17) },
		"long ticket": func(p *wire.Play) { p.Ticket = make([]byte, 257) },
		"quality":     func(p *wire.Play) { p.Quality = 5 },
		"no play id":  func(p *wire.Play) { p.PlayID = [16]byte{} },
	} {
		t.Run(name, func(t *testing.T) {
			p := examplePlay()
			change(p)
			if _, err := wire.ParsePlay(one(t, p.Append(nil)).Payload); wire.CodeOf(err) != wire.BadFrame {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	f.Add(examplePlay().Append(nil))
	f.Add(exampleHead().Append(nil))
	f.Add((&wire.Index{Offset: 9, Records: []wire.Span{{1, 2}, {3, 4}}}).Append(nil))
	f.Add((&wire.Error{Code: 3, Text: "x"}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(bytes.NewReader(b), wire.MaxServer)
		for {
			fr, err := r.Next()
			if err != nil {
				return
			}
			again(t, fr)
		}
	})
}

// again checks that what was parsed is written so that it parses to the same.
func again(t *testing.T, f wire.Frame) {
	switch f.Type {
	case wire.TypePlay:
		if p, err := wire.ParsePlay(f.Payload); err == nil {
			q, err := wire.ParsePlay(one(t, p.Append(nil)).Payload)
			if d := cmp.Diff(p, q); err != nil || d != "" {
				t.Fatal(err, d)
			}
		}
	case wire.TypeHead:
		if p, err := wire.ParseHead(f.Payload); err == nil {
			q, err := wire.ParseHead(one(t, p.Append(nil)).Payload)
			if d := cmp.Diff(p, q); err != nil || d != "" {
				t.Fatal(err, d)
			}
		}
	case wire.TypeIndex:
		if p, err := wire.ParseIndex(f.Payload); err == nil {
			q, err := wire.ParseIndex(one(t, p.Append(nil)).Payload)
			if d := cmp.Diff(p, q); err != nil || d != "" {
				t.Fatal(err, d)
			}
		}
	case wire.TypeErr:
		if p, err := wire.ParseErr(f.Payload); err == nil && len(p.Error()) == 0 {
			t.Fatal("no text")
		}
	default:
		_, _ = wire.ParseCredit(f.Payload)
		_, _ = wire.ParseWatch(f.Payload)
		_, _ = wire.ParseRec(f.Payload)
		_, _ = wire.ParseEnd(f.Payload)
		_, _ = wire.ParseState(f.Payload)
	}
}
