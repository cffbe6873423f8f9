package seal_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/streamtest"
)

func sealed(t testing.TB, plain []byte) ([]byte, seal.Sealed) {
	t.Helper()
	var out bytes.Buffer
	s, err := seal.Object(&out, bytes.NewReader(plain), seal.Options{Random: rand.Reader, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), s
}

func open(t testing.TB, b []byte) *seal.Opened {
	t.Helper()
	o, err := seal.OpenObject(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestObject_RoundTrip(t *testing.T) {
	for _, kbps := range []int{24, 160} {
		plain := streamtest.Ogg(t, 5.3, kbps)
		want, err := ogg.Split(bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		b, s := sealed(t, plain)
		o := open(t, b)
		sum := sha256.Sum256(b)
		if !bytes.Equal(sum[:16], s.ObjectID[:]) || s.Bytes != uint64(len(b)) || int(s.Records) != len(want.Records) ||
			s.TotalSamples != want.TotalSamples || o.TotalSamples != want.TotalSamples || s.SetupID != o.SetupID ||
			o.SealID != s.SealID || o.KID != 1 || s.KID != 1 || int(o.Rate) != s.Rate || int(o.Channels) != s.Channels {
			t.Fatalf("%+v\n%+v", s, o.Header)
		}
		opener, err := seal.NewOpener(s.BaseKey, o.SealID, o.KID, s.Records)
		if err != nil {
			t.Fatal(err)
		}
		got := bytes.Clone(o.Setup)
		for i, r := range o.Records {
			w := want.Records[i]
			if r.First != w.FirstSample || r.Samples != w.Samples || r.First+uint64(r.Join) != w.JoinSample {
				t.Errorf("record %d: %+v, want %d %d %d", i, r, w.FirstSample, w.Samples, w.JoinSample)
			}
			if got, err = opener.Open(got, uint32(i), b[r.Offset:r.Offset+uint64(r.Length)]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, plain) {
			t.Errorf("%d kbit/s: what was sealed comes back as something else", kbps)
		}
		for _, target := range []uint64{0, 1, 5000, 44100, want.TotalSamples / 2, want.TotalSamples - 1} {
			if o.RecordAt(target) != want.RecordAt(target) {
				t.Errorf("record at %d is %d, want %d", target, o.RecordAt(target), want.RecordAt(target))
			}
		}
		if o.RecordAt(want.TotalSamples+9) != len(o.Records)-1 {
			t.Error("past the end is not the last record")
		}
		x := o.Index()
		if x.Offset != o.Records[0].Offset || len(x.Records) != len(o.Records) {
			t.Error("index differs")
		}
	}
}

// Two sealings of the same bytes share nothing: a step that crashed after sealing and
// runs again never meets its old key.
func TestObject_Fresh(t *testing.T) {
	plain := streamtest.Ogg(t, 0.5, 96)
	a, sa := sealed(t, plain)
	b, sb := sealed(t, plain)
	if sa.BaseKey == sb.BaseKey || sa.SealID == sb.SealID || sa.ObjectID == sb.ObjectID || sa.SetupID != sb.SetupID {
		t.Errorf("%+v\n%+v", sa, sb)
	}
	oa, ob := open(t, a), open(t, b)
	ra, rb := oa.Records[0], ob.Records[0]
	if bytes.Equal(a[ra.Offset:ra.Offset+uint64(ra.Length)], b[rb.Offset:rb.Offset+uint64(rb.Length)]) {
		t.Error("equal ciphertext")
	}
}

func TestObject_Refuses(t *testing.T) {
	plain := streamtest.Ogg(t, 1, 96)
	for name, in := range map[string][]byte{
		"empty":     nil,
		"no ogg":    bytes.Repeat([]byte("music"), 999),
		"truncated": plain[:len(plain)-100],
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := seal.Object(io.Discard, bytes.NewReader(in), seal.Options{Random: rand.Reader, TempDir: t.TempDir()}); err == nil {
				t.Error("sealed")
			}
		})
	}
	t.Run("no randomness", func(t *testing.T) {
		if _, err := seal.Object(io.Discard, bytes.NewReader(plain), seal.Options{Random: bytes.NewReader(nil), TempDir: t.TempDir()}); err == nil {
			t.Error("sealed")
		}
	})
}

func TestOpener_Refuses(t *testing.T) {
	b, s := sealed(t, streamtest.Ogg(t, 2, 96))
	o := open(t, b)
	ct := func(i int) []byte {
		r := o.Records[i]
		return bytes.Clone(b[r.Offset : r.Offset+uint64(r.Length)])
	}
	last := len(o.Records) - 1
	good := func() *seal.Opener { return opener(t, s.BaseKey, s.SealID, 1, s.Records) }
	flipped := ct(1)
	flipped[len(flipped)/2] ^= 1
	otherSeal := s.SealID
	otherSeal[3]++
	for name, c := range map[string]struct {
		o  *seal.Opener
		n  int
		ct []byte
	}{
		"bit flipped":      {good(), 1, flipped},
		"cut":              {good(), 1, ct(1)[:40]},
		"empty":            {good(), 1, nil},
		"other place":      {good(), 1, ct(2)},
		"past the end":     {good(), last + 1, ct(last)},
		"another object":   {opener(t, s.BaseKey, otherSeal, 1, s.Records), 1, ct(1)},
		"another kid":      {opener(t, s.BaseKey, s.SealID, 2, s.Records), 1, ct(1)},
		"shortened":        {opener(t, s.BaseKey, s.SealID, 1, s.Records-1), 1, ct(1)},
		"lengthened":       {opener(t, s.BaseKey, s.SealID, 1, s.Records+1), last, ct(last)},
		"made last before": {opener(t, s.BaseKey, s.SealID, 1, 2), 1, ct(1)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.o.Open(nil, uint32(c.n), c.ct); !errors.Is(err, seal.ErrRecord) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func opener(t testing.TB, base, sealID [16]byte, kid uint64, n uint32) *seal.Opener {
	t.Helper()
	o, err := seal.NewOpener(base, sealID, kid, n)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOpenObject_Refuses(t *testing.T) {
	b, _ := sealed(t, streamtest.Ogg(t, 1, 96))
	header := int(open(t, b).Records[0].Offset)
	for n := range len(b) {
		if _, err := seal.OpenObject(bytes.NewReader(b[:n]), int64(n)); !errors.Is(err, seal.ErrObject) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, err := seal.OpenObject(bytes.NewReader(append(b[:len(b):len(b)], 0)), int64(len(b)+1)); !errors.Is(err, seal.ErrObject) {
		t.Errorf("a byte more: %v", err)
	}
	// Any damage to the header is refused or leaves a consistent object.
	for i := range header {
		bad := bytes.Clone(b)
		bad[i] ^= 0x41
		if o, err := seal.OpenObject(bytes.NewReader(bad), int64(len(bad))); err == nil {
			consistent(t, o, len(bad))
		}
	}
}

func consistent(t testing.TB, o *seal.Opened, size int) {
	t.Helper()
	end, first := o.Records[0].Offset, uint64(0)
	for i, r := range o.Records {
		if r.Offset != end || r.First != first || r.Join > r.Samples || r.Length == 0 {
			t.Fatalf("record %d is %+v, at %d", i, r, end)
		}
		end += uint64(r.Length)
		first += uint64(r.Samples)
	}
	if end != uint64(size) || first != o.TotalSamples {
		t.Fatalf("ends at %d of %d, %d of %d", end, size, first, o.TotalSamples)
	}
}

func FuzzOpenObject(f *testing.F) {
	b, _ := sealed(f, streamtest.Ogg(f, 0.6, 96))
	f.Add(b)
	f.Add(b[:300])
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := seal.OpenObject(bytes.NewReader(b), int64(len(b))); err == nil {
			consistent(t, o, len(b))
			o.RecordAt(o.TotalSamples / 2)
		}
	})
}

func TestKeys_Session(t *testing.T) {
	device, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	session, key := [16]byte{1}, [16]byte{2}
	b, err := seal.SealSessionKey(device.PublicKey().Bytes(), session, key)
	if err != nil || len(b) != seal.SealedKeySize {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	got, err := seal.OpenSessionKey(device, session, b)
	if err != nil || got != key {
		t.Fatalf("%x, %v", got, err)
	}
	if _, err := seal.OpenSessionKey(device, [16]byte{9}, b); !errors.Is(err, seal.ErrKey) {
		t.Errorf("another session: %v", err)
	}
	other, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenSessionKey(other, session, b); !errors.Is(err, seal.ErrKey) {
		t.Errorf("another device: %v", err)
	}
	for _, public := range [][]byte{nil, make([]byte, 32), make([]byte, 31)} {
		if _, err := seal.SealSessionKey(public, session, key); err == nil {
			t.Errorf("sealed to %x", public)
		}
	}
	for n := range len(b) {
		if _, err := seal.OpenSessionKey(device, session, b[:n]); !errors.Is(err, seal.ErrKey) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestKeys_Wrap(t *testing.T) {
	kek, base, object, sealID, session := [16]byte{1}, [16]byte{2}, [16]byte{3}, [16]byte{4}, [16]byte{5}
	b, err := seal.WrapKey(kek, base, object, sealID, 7, session, rand.Reader)
	if err != nil || len(b) != seal.WrappedKeySize {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	got, err := seal.UnwrapKey(kek, b, object, sealID, 7, session)
	if d := cmp.Diff(base, got); err != nil || d != "" {
		t.Fatal(err, d)
	}
	zero := [16]byte{}
	for name, open := range map[string]func() ([16]byte, error){
		"kek":     func() ([16]byte, error) { return seal.UnwrapKey(zero, b, object, sealID, 7, session) },
		"object":  func() ([16]byte, error) { return seal.UnwrapKey(kek, b, zero, sealID, 7, session) },
		"seal":    func() ([16]byte, error) { return seal.UnwrapKey(kek, b, object, zero, 7, session) },
		"kid":     func() ([16]byte, error) { return seal.UnwrapKey(kek, b, object, sealID, 8, session) },
		"session": func() ([16]byte, error) { return seal.UnwrapKey(kek, b, object, sealID, 7, zero) },
		"cut":     func() ([16]byte, error) { return seal.UnwrapKey(kek, b[1:], object, sealID, 7, session) },
	} {
		if got, err := open(); !errors.Is(err, seal.ErrKey) || got != zero {
			t.Errorf("another %s: %x, %v", name, got, err)
		}
	}
}
