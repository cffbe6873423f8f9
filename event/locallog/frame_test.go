package locallog

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/event"
)

func FuzzParseFrame(f *testing.F) {
	table := crc32.MakeTable(crc32.Castagnoli)
	rec := event.Record{
		Topic: event.Upload, Key: []byte("key"), Value: []byte("value"),
		Headers: []event.Header{{Name: "id", Value: []byte("1")}, {Name: "", Value: []byte{}}},
	}
	whole := appendFrame(nil, table, &rec, 7, 9)
	f.Add(whole, true)
	f.Add(whole[:len(whole)-1], false)
	f.Add(appendFrame(nil, table, &event.Record{}, 0, 0), true)
	f.Add(bytes.Repeat([]byte{0xff}, 64), true)
	f.Add(make([]byte, 64), true)
	fixed := make([]byte, frameHead+16)
	for _, odd := range [][]byte{
		{0x81, 0x02, 'k', 0},            // key over its bound
		append(overlong(), 0),           // key length over 64 bits
		{0, event.MaxHeaders + 1, 0, 0}, // too many headers
		{0, 2, 1, 'n', 1, 'v', 1},       // second header is cut
		{0x80, 0, 0x80, 0},              // lengths longer than need be
		append([]byte{0}, overlong()...),
	} {
		f.Add(append(bytes.Clone(fixed), odd...), true)
	}
	f.Add(append(bytes.Clone(fixed[:frameHead]), bytes.Repeat([]byte{0xff}, 18)...), true) // negative offset
	largest := event.Record{Key: make([]byte, event.MaxKey), Value: make([]byte, event.MaxValue)}
	for range event.MaxHeaders {
		largest.Headers = append(largest.Headers, event.Header{Name: string(largest.Key), Value: largest.Key})
	}
	f.Add(appendFrame(nil, table, &largest, 1, 1), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal && len(b) >= frameMin+frameHead && len(b) < frameMax {
			// A right checksum lets odd contents reach what is behind it.
			b = bytes.Clone(b)
			n := len(b) - frameHead
			b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
			sum := crc32.Update(crc32.Update(0, table, b[:4]), table, b[frameHead:])
			b[4], b[5], b[6], b[7] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		fr, err := parseFrame(b, table)
		if err != nil {
			return
		}
		if fr.size > int64(len(b)) {
			t.Fatalf("frame of %d bytes in %d", fr.size, len(b))
		}
		rec, err := fr.record(event.Upload)
		if err != nil || rec.CheckSize() != nil {
			return
		}
		again, err := parseFrame(appendFrame(nil, table, &rec, fr.offset, fr.nanos), table)
		if err != nil {
			t.Fatalf("what was read does not parse again: %v", err)
		}
		if rec2, err := again.record(event.Upload); err != nil || !cmp.Equal(rec, rec2) {
			t.Errorf("record changes: %v %s", err, cmp.Diff(rec, rec2))
		}
	})
}

// overlong is a uvarint that does not end within 64 bits.
func overlong() []byte { return bytes.Repeat([]byte{0xff}, 11) }

// TestFrameSize holds what is reserved for a record to what its frame takes.
func TestFrameSize(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	for _, n := range []int{0, 1, 127, 128, event.MaxKey} {
		for headers := range event.MaxHeaders + 1 {
			rec := event.Record{Key: make([]byte, n), Value: make([]byte, 3*n)}
			for range headers {
				rec.Headers = append(rec.Headers, event.Header{Name: string(rec.Key), Value: rec.Key})
			}
			if got := len(appendFrame(nil, table, &rec, 1, 1)); got != frameSize(&rec) || got > frameMax {
				t.Errorf("frame with %d headers of %d bytes is %d bytes, reserved %d", headers, n, got, frameSize(&rec))
			}
		}
	}
}

func FuzzGroupFile(f *testing.F) {
	table := crc32.MakeTable(crc32.Castagnoli)
	g := groups{log: &Log{table: table}}
	f.Add([]byte("upload-events 3\n"), true)
	f.Add([]byte("x"), true)
	f.Add([]byte("crc32c 00000000\n"), false)
	f.Add([]byte{}, true)
	f.Add([]byte("a 1\nb 2\na 3\n"), true)
	f.Add([]byte("a -1\n"), true)
	f.Add([]byte("a 9223372036854775808\n"), true)
	f.Add([]byte("a 1"), true)
	f.Add([]byte(" 1\n\n"), true)
	f.Add(bytes.Repeat([]byte("a 1\n"), maxGroupFile/4), true)
	f.Fuzz(func(t *testing.T, body []byte, seal bool) {
		if seal {
			body = append([]byte(g.checksum(string(body))+"\n"), body...)
		}
		offsets, err := g.read(memory{bytes.NewReader(body)})
		if err == nil && len(offsets) > len(body) {
			t.Errorf("%d offsets of %d bytes", len(offsets), len(body))
		}
		for topic, next := range offsets {
			if next < 0 {
				t.Errorf("offset of %q is %d", topic, next)
			}
		}
	})
}

// memory is a file that is only read.
type memory struct{ *bytes.Reader }

func (memory) WriteAt([]byte, int64) (int, error) { return 0, errTorn }
func (memory) Close() error                       { return nil }
func (memory) Truncate(int64) error               { return errTorn }
func (memory) Reserve(int64)                      {}
func (memory) Sync(Site) error                    { return errTorn }
func (m memory) Size() (int64, error)             { return m.Reader.Size(), nil }
