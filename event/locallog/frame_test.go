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
	whole := appendFrame(nil, table, rec, 7, 9)
	f.Add(whole, true)
	f.Add(whole[:len(whole)-1], false)
	f.Add(appendFrame(nil, table, event.Record{}, 0, 0), true)
	f.Add(bytes.Repeat([]byte{0xff}, 64), true)
	f.Add(make([]byte, 64), true)
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
		again, err := parseFrame(appendFrame(nil, table, rec, fr.offset, fr.nanos), table)
		if err != nil {
			t.Fatalf("what was read does not parse again: %v", err)
		}
		if rec2, err := again.record(event.Upload); err != nil || !cmp.Equal(rec, rec2) {
			t.Errorf("record changes: %v %s", err, cmp.Diff(rec, rec2))
		}
	})
}

func FuzzGroupFile(f *testing.F) {
	table := crc32.MakeTable(crc32.Castagnoli)
	g := groups{log: &Log{table: table}}
	f.Add([]byte("upload-events 3\n"), true)
	f.Add([]byte("x"), true)
	f.Add([]byte("crc32c 00000000\n"), false)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, body []byte, seal bool) {
		if seal {
			body = append([]byte(g.checksum(string(body))+"\n"), body...)
		}
		offsets, err := g.read(memory{bytes.NewReader(body)})
		if err == nil && len(offsets) > len(body) {
			t.Errorf("%d offsets of %d bytes", len(offsets), len(body))
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
