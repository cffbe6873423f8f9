package conformance

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// Player plays the track of w in 96 kbit/s from its beginning to its end with the client under
// test, from a server that answers each PLAY with the bytes of answer and then finishes
// the stream. It returns the Ogg bytes that the client took, and how it ended.
type Player func(t *testing.T, w *World, answer func(*wire.Play) []byte) ([]byte, error)

// Client runs the suite against a client: servers and caches that lie, by accident or
// not. What a client takes must be a part of the track from its beginning; all of it,
// when it reports no error.
func Client(t *testing.T, w *World, play Player) {
	o, b := w.Object(wire.Kbps96)
	object, err := seal.OpenObject(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	s := &script{tb: t, w: w, sealed: o, bytes: b, object: object}
	last := len(object.Records) - 1
	cases := []struct {
		name   string
		change func(*script, []Step) []Step
		good   bool // the client has to take it all
	}{
		{"honest", nil, true},
		{"unknown_frames", func(_ *script, a []Step) []Step { return insert(a, 2, Step{0x3f, 2, 1, 1}) }, true},
		{"no_index", func(_ *script, a []Step) []Step { return remove(a, 2) }, true},
		{"records_swapped", func(_ *script, a []Step) []Step { a[5], a[6] = a[6], a[5]; return a }, false},
		{"record_missing", func(_ *script, a []Step) []Step { return remove(a, 7) }, false},
		{"record_twice", func(_ *script, a []Step) []Step { return insert(a, 7, a[7]) }, false},
		{"number_changed", func(s *script, a []Step) []Step { a[7] = s.rec(5, 4); return a }, false},
		{"bit_flipped", func(_ *script, a []Step) []Step { a[7] = flip(a[7]); return a }, false},
		{"another_object", func(s *script, a []Step) []Step { a[7] = s.foreign(5); return a }, false},
		{"ends_early", func(_ *script, a []Step) []Step { return append(a[:9], wire.End{}.Append(nil)) }, false},
		{"cut_off", func(_ *script, a []Step) []Step { a[9] = a[9][:len(a[9])/2]; return a[:10] }, false},
		{"without_end", func(_ *script, a []Step) []Step { return a[:9] }, false},
		{"head_twice", func(_ *script, a []Step) []Step { return insert(a, 4, a[0]) }, false},
		{"record_first", func(_ *script, a []Step) []Step { return a[1:] }, false},
		{"critical", func(_ *script, a []Step) []Step { return insert(a, 4, Step{0x40, 0x41, 0}) }, false},
		{"huge", func(_ *script, a []Step) []Step {
			return insert(a, 4, wire.AppendVarint(Step{0x11}, wire.MaxServer+1))
		}, false},
		{"refused_later", func(_ *script, a []Step) []Step {
			return append(a[:6], (&wire.Error{Code: wire.PlayingElsewhere}).Append(nil))
		}, false},
		{"shorter_track", func(s *script, a []Step) []Step {
			h := s.head()
			h.RecordCount = uint64(last) // as if the last record did not belong to it
			a[0] = h.Append(nil)
			return a
		}, false},
		{"another_key", func(s *script, a []Step) []Step { h := s.head(); h.WrappedKey[20] ^= 1; a[0] = h.Append(nil); return a }, false},
		{"another_setup", func(s *script, a []Step) []Step {
			h := s.head()
			h.Setup = bytes.Clone(h.Setup)
			h.Setup[100] ^= 1
			a[0] = h.Append(nil)
			return a
		}, false},
		{"another_index", func(s *script, a []Step) []Step {
			x := s.object.Index()
			x.Records[3].Samples++
			a[2] = x.Append(nil)
			return a
		}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := play(t, w, func(*wire.Play) []byte {
				steps := s.honest()
				if c.change != nil {
					steps = c.change(s, steps)
				}
				var out []byte
				for _, st := range steps {
					out = append(out, st...)
				}
				return out
			})
			whole := w.Plain[wire.Kbps96]
			switch {
			case !bytes.HasPrefix(whole, got):
				t.Errorf("took %d bytes that are not the track's", len(got))
			case c.good && (err != nil || len(got) != len(whole)):
				t.Errorf("took %d bytes of %d, %v", len(got), len(whole), err)
			case !c.good && err == nil:
				t.Errorf("took %d bytes of %d and saw nothing wrong", len(got), len(whole))
			}
		})
	}
}

// Step is one frame of an answer.
type Step []byte

// script makes answers for an object.
type script struct {
	tb     testing.TB
	w      *World
	sealed seal.Sealed
	bytes  []byte
	object *seal.Opened
}

func (s *script) head() *wire.Head {
	o := s.object
	key, err := seal.WrapKey(s.w.Key, s.sealed.BaseKey, s.sealed.ObjectID, o.SealID, o.KID, s.w.SessionID, rand.Reader)
	if err != nil {
		s.tb.Fatal(err)
	}
	return &wire.Head{
		ObjectID: s.sealed.ObjectID, SealID: o.SealID, KID: o.KID, WrappedKey: key, Codec: o.Codec, Rate: uint64(o.Rate),
		Channels: o.Channels, TotalSamples: o.TotalSamples, RecordCount: uint64(len(o.Records)), SetupID: o.SetupID, Setup: o.Setup,
	}
}

// rec is the frame of a number with the ciphertext of a record.
func (s *script) rec(number, record int) Step {
	r := s.object.Records[record]
	return wire.Rec{Number: uint64(number), Ciphertext: s.bytes[r.Offset : r.Offset+uint64(r.Length)]}.Append(nil)
}

// foreign is a record of the same track's other object.
func (s *script) foreign(number int) Step {
	_, b := s.w.Object(wire.Kbps160)
	o, err := seal.OpenObject(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		s.tb.Fatal(err)
	}
	r := o.Records[number]
	return wire.Rec{Number: uint64(number), Ciphertext: b[r.Offset : r.Offset+uint64(r.Length)]}.Append(nil)
}

// honest is HEAD, record 0, INDEX, the other records, END.
func (s *script) honest() []Step {
	steps := []Step{s.head().Append(nil), s.rec(0, 0), s.object.Index().Append(nil)}
	for i := 1; i < len(s.object.Records); i++ {
		steps = append(steps, s.rec(i, i))
	}
	return append(steps, wire.End{LastRecord: uint64(len(s.object.Records) - 1)}.Append(nil))
}

func insert(a []Step, at int, s Step) []Step {
	return append(a[:at:at], append([]Step{s}, a[at:]...)...)
}

func remove(a []Step, at int) []Step { return append(a[:at:at], a[at+1:]...) }

func flip(s Step) Step {
	c := bytes.Clone(s)
	c[len(c)/2] ^= 1
	return c
}
