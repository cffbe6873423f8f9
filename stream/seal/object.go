package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"

	"github.com/segue-music/segue/stream/wire"
)

const (
	magic     = "segue/o1"
	prefix    = len(magic) + 4
	maxHeader = 16 << 20
	// MaxRecords bounds an object: 48 hours of 250 ms pages fit.
	MaxRecords = 1 << 20
)

// ErrObject means that bytes are no sealed object, or a damaged one.
var ErrObject = errors.New("seal: no valid object")

// Header is what a sealed object says about itself, in clear.
type Header struct {
	SealID       [16]byte
	KID          uint64
	Codec        wire.Codec
	Channels     uint8
	Rate         uint32 // samples per second
	PreSkip      uint32
	TotalSamples uint64 // per channel
	SetupID      [8]byte
	// Setup are the codec headers as they stand in the Ogg file.
	Setup []byte
}

// Record is one record of an object.
type Record struct {
	Offset uint64 // of its ciphertext in the object, in bytes
	Length uint32 // of its ciphertext
	// First is the position of its first sample, Samples how many it holds.
	Samples uint32
	First   uint64
	// Join is how many of them a decoder does not yield that starts here.
	Join uint32
}

// Opened is a sealed object that has been read as far as its index.
type Opened struct {
	Header
	Records []Record
}

// appendTo writes everything in front of record 0.
func (h *Header) appendTo(b []byte, records []Record) []byte {
	at := len(b)
	b = append(b, magic...)
	b = append(b, 0, 0, 0, 0)
	b = append(b, h.SealID[:]...)
	b = wire.AppendVarint(b, h.KID)
	b = append(b, byte(h.Codec), h.Channels)
	b = wire.AppendVarint(b, uint64(h.Rate))
	b = wire.AppendVarint(b, uint64(h.PreSkip))
	b = wire.AppendVarint(b, h.TotalSamples)
	b = wire.AppendVarint(b, uint64(len(records)))
	b = append(b, h.SetupID[:]...)
	b = wire.AppendVarint(b, uint64(len(h.Setup)))
	b = append(b, h.Setup...)
	var last int64
	for _, r := range records {
		b = wire.AppendVarint(b, uint64(r.Length))
		b = wire.AppendVarint(b, wire.Zigzag(int64(r.Samples)-last))
		b = wire.AppendVarint(b, uint64(r.Join))
		last = int64(r.Samples)
	}
	binary.BigEndian.PutUint32(b[at+len(magic):], uint32(len(b)-at-prefix))
	return b
}

// OpenObject reads header and index of an object of size bytes. It takes nothing on
// trust: what it returns is consistent with itself and with size. Whether the records
// are authentic shows when they are opened with their key. A failure is ErrObject, or
// the error of r.
func OpenObject(r io.ReaderAt, size int64) (*Opened, error) {
	var front [prefix]byte
	if size < int64(prefix) {
		return nil, fmt.Errorf("%w: %d bytes", ErrObject, size)
	}
	if _, err := r.ReadAt(front[:], 0); err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	n := int64(binary.BigEndian.Uint32(front[len(magic):]))
	if string(front[:len(magic)]) != magic || n > maxHeader || n > size-int64(prefix) {
		return nil, fmt.Errorf("%w: no object header", ErrObject)
	}
	b := make([]byte, n)
	if k, err := r.ReadAt(b, int64(prefix)); err != nil && (k < len(b) || !errors.Is(err, io.EOF)) {
		return nil, fmt.Errorf("read object header: %w", err)
	}
	o, err := parse(b, uint64(size))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrObject, err)
	}
	return o, nil
}

var errShort = errors.New("header ends early")

func parse(b []byte, size uint64) (*Opened, error) {
	at := uint64(prefix + len(b))
	o := &Opened{}
	short := false
	take := func(n uint64) []byte {
		if n > uint64(len(b)) {
			short = true
			return nil
		}
		v := b[:n]
		b = b[n:]
		return v
	}
	number := func() uint64 {
		v, n := wire.Varint(b)
		short = short || n == 0
		b = b[n:]
		return v
	}
	copy(o.SealID[:], take(16))
	o.KID = number()
	if v := take(2); len(v) == 2 {
		o.Codec, o.Channels = wire.Codec(v[0]), v[1]
	}
	rate, skip := number(), number()
	o.TotalSamples = number()
	count := number()
	copy(o.SetupID[:], take(8))
	setup := number()
	switch {
	case short:
		return nil, errShort
	case o.KID == 0 || o.Codec < wire.Vorbis || o.Codec > wire.FLAC || o.Channels == 0 || rate == 0 || rate > 1<<20 || skip > math.MaxUint16:
		return nil, fmt.Errorf("kid %d, codec %d, %d channels, %d Hz", o.KID, o.Codec, o.Channels, rate)
	case setup > wire.MaxSetup:
		return nil, fmt.Errorf("setup of %d bytes", setup)
	case count == 0 || count > MaxRecords:
		return nil, fmt.Errorf("%d records", count)
	}
	o.Rate, o.PreSkip = uint32(rate), uint32(skip)
	o.Setup = append([]byte(nil), take(setup)...)
	if short || count > uint64(len(b)/3) {
		return nil, errShort
	}
	if SetupID(o.Setup) != o.SetupID {
		return nil, errors.New("setup has another id")
	}
	o.Records = make([]Record, 0, count)
	var first uint64
	var samples int64
	for range count {
		length, delta, join := number(), number(), number()
		samples += wire.Unzigzag(delta)
		switch {
		case short:
			return nil, errShort
		case length == 0 || length > wire.MaxServer-16 || length > size-at:
			return nil, fmt.Errorf("record of %d bytes", length)
		case samples < 0 || samples > math.MaxUint32 || join > uint64(samples):
			return nil, fmt.Errorf("record of %d samples, join %d", samples, join)
		case len(o.Records) == 0 && join != 0:
			return nil, errors.New("first record does not begin at 0")
		}
		o.Records = append(o.Records, Record{
			Offset: at, Length: uint32(length), First: first, Samples: uint32(samples), Join: uint32(join),
		})
		at += length
		first += uint64(samples)
	}
	if len(b) != 0 || at != size || first != o.TotalSamples {
		return nil, fmt.Errorf("%d bytes of header left, records end at %d of %d bytes and %d of %d samples", len(b), at, size, first, o.TotalSamples)
	}
	return o, nil
}

// RecordAt is the number of the record where a decoder has to start to yield the
// sample at target: the last one whose output begins no later. Past the end it is the
// last record.
func (o *Opened) RecordAt(target uint64) int {
	n := sort.Search(len(o.Records), func(i int) bool {
		return o.Records[i].First+uint64(o.Records[i].Join) > target
	})
	return max(n-1, 0)
}

// Index is the record index in the form that crosses the wire.
func (o *Opened) Index() *wire.Index {
	x := &wire.Index{Offset: o.Records[0].Offset, Records: make([]wire.Span, len(o.Records))}
	for i, r := range o.Records {
		x.Records[i] = wire.Span{Length: uint64(r.Length), Samples: r.Samples}
	}
	return x
}
