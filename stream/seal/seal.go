// Package seal encrypts one rendition of a track into an immutable object, reads
// such objects, and wraps their keys.
//
// A sealed object is named by the hash of its bytes. It holds the codec headers, an
// index, and one SFrame ciphertext (RFC 9605) per record of whole Ogg pages. Identity,
// length and end of the object are bound into each record, so that splicing,
// reordering and truncating fail. docs/protocol/segue-1.md, sections 4 and 5, has
// the bytes.
package seal

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/stream/sframe"
	"github.com/segue-music/segue/stream/wire"
)

// Options of one sealing.
type Options struct {
	// KID is the key generation; 0 stands for 1, the first.
	KID uint64
	// Random gives key and seal id, such as crypto/rand.Reader.
	Random io.Reader
	// TempDir is where the records wait in clear until their number is known, in a
	// file without a name. Empty is the system's.
	TempDir string
}

// Sealed describes a finished object. BaseKey is a secret.
type Sealed struct {
	ObjectID, SealID, BaseKey [16]byte
	KID                       uint64
	Records                   uint32
	TotalSamples, Bytes       uint64
	Rate, Channels            int
	SetupID                   [8]byte
}

// Object seals an Ogg Vorbis stream into w.
//
// Every call draws a fresh key and a fresh seal id, so that no key and counter ever
// meet two plaintexts: a caller that has to repeat a sealing calls Object again and
// keeps nothing of the first attempt.
func Object(w io.Writer, in io.Reader, opt Options) (Sealed, error) {
	split, err := ogg.NewSplitter(in)
	if err != nil {
		return Sealed{}, fmt.Errorf("read headers: %w", err)
	}
	if len(split.Setup()) > wire.MaxSetup {
		return Sealed{}, fmt.Errorf("seal: headers of %d bytes", len(split.Setup()))
	}
	spool, err := openSpool(opt.TempDir)
	if err != nil {
		return Sealed{}, err
	}
	defer spool.Close()
	records, err := cut(spool, split)
	if err != nil {
		return Sealed{}, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return Sealed{}, fmt.Errorf("rewind records: %w", err)
	}
	h := &Header{
		KID: max(opt.KID, 1), Codec: wire.Vorbis, Channels: uint8(split.Vorbis().Channels),
		Rate: uint32(split.Vorbis().Rate), TotalSamples: split.TotalSamples(), Setup: split.Setup(),
		SetupID: SetupID(split.Setup()),
	}
	return write(w, bufio.NewReaderSize(spool, 256<<10), h, records, opt.Random)
}

// SetupID names codec headers: the first bytes of their SHA-256.
func SetupID(setup []byte) (id [8]byte) {
	sum := sha256.Sum256(setup)
	copy(id[:], sum[:])
	return id
}

// openSpool makes a file that nobody else can name.
func openSpool(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "seal-")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink temporary file: %w", err), f.Close())
	}
	return f, nil
}

// cut writes the records' pages to w and returns them with Length still that of the
// plaintext.
func cut(w io.Writer, split *ogg.Splitter) ([]Record, error) {
	out := bufio.NewWriterSize(w, 256<<10)
	var records []Record
	for {
		rec, err := split.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cut record %d: %w", len(records), err)
		}
		if _, err := out.Write(rec.Pages); err != nil {
			return nil, fmt.Errorf("keep record: %w", err)
		}
		records = append(records, Record{
			Length: uint32(len(rec.Pages)), First: rec.FirstSample, Samples: rec.Samples,
			Join: uint32(rec.JoinSample - rec.FirstSample),
		})
		if len(records) > MaxRecords {
			return nil, fmt.Errorf("seal: more than %d records", MaxRecords)
		}
	}
	if len(records) == 0 {
		return nil, errors.New("seal: no audio")
	}
	if err := out.Flush(); err != nil {
		return nil, fmt.Errorf("keep record: %w", err)
	}
	return records, nil
}

func write(w io.Writer, plain io.Reader, h *Header, records []Record, random io.Reader) (Sealed, error) {
	s := Sealed{
		KID: h.KID, Records: uint32(len(records)), TotalSamples: h.TotalSamples,
		Rate: int(h.Rate), Channels: int(h.Channels), SetupID: h.SetupID,
	}
	for _, b := range [...][]byte{s.BaseKey[:], s.SealID[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return Sealed{}, fmt.Errorf("draw key: %w", err)
		}
	}
	h.SealID = s.SealID
	key, err := sframe.New(sframe.AES128GCM, s.KID, s.BaseKey[:])
	if err != nil {
		return Sealed{}, err
	}
	for i := range records {
		records[i].Length += uint32(key.Overhead(uint64(i)))
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 256<<10)
	head := h.appendTo(nil, records)
	if _, err := out.Write(head); err != nil {
		return Sealed{}, fmt.Errorf("write object header: %w", err)
	}
	s.Bytes = uint64(len(head))
	var page, sealed []byte
	for i, r := range records {
		n := int(r.Length) - key.Overhead(uint64(i))
		page = append(page[:0], make([]byte, n)...)
		if _, err := io.ReadFull(plain, page); err != nil {
			return Sealed{}, fmt.Errorf("read record %d: %w", i, err)
		}
		meta := metadata(s.SealID, s.Records, i == len(records)-1)
		sealed = key.Seal(sealed[:0], uint64(i), meta[:], page)
		if _, err := out.Write(sealed); err != nil {
			return Sealed{}, fmt.Errorf("write record %d: %w", i, err)
		}
		s.Bytes += uint64(len(sealed))
	}
	if err := out.Flush(); err != nil {
		return Sealed{}, fmt.Errorf("write object: %w", err)
	}
	copy(s.ObjectID[:], sum.Sum(nil))
	return s, nil
}

const metadataSize = 6 + 16 + 4 + 1

// metadata is what each record is bound to.
func metadata(sealID [16]byte, count uint32, last bool) (m [metadataSize]byte) {
	n := copy(m[:], "segue1")
	n += copy(m[n:], sealID[:])
	binary.BigEndian.PutUint32(m[n:], count)
	if last {
		m[metadataSize-1] = 1
	}
	return m
}
