package ogg

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Repair copies an Ogg Vorbis stream from r to w, and mends what bad taggers
// leave behind and strict decoders refuse, though the sound is whole:
//
//   - the comment header, which may count more comments than there are, becomes
//     an empty one (the tags are to be read from the original);
//   - headers that stand again among the audio packets are left out;
//   - negative granule positions become 0.
//
// It fails with ErrUnsupported for anything but one Vorbis stream, and passes
// ErrTruncated and ErrCorrupt on for what else is broken.
func Repair(w io.Writer, r io.Reader) error {
	pages := NewReader(bufio.NewReaderSize(r, 64<<10))
	var packets [][]byte
	var part, first []byte
	var serial uint32
	size, read := 0, 0 // bytes and pages of the headers
	for len(packets) < 3 {
		p, err := pages.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: no Vorbis headers", ErrTruncated)
		}
		if err != nil {
			return err
		}
		if size += len(p.Raw); size > MaxSetupSize {
			return fmt.Errorf("%w: headers over %d bytes", ErrTooLarge, MaxSetupSize)
		}
		if first == nil {
			first, serial = append(first, p.Raw...), p.Serial
		} else if p.Serial != serial {
			return fmt.Errorf("%w: several logical streams", ErrUnsupported)
		}
		read++
		// The callback returns no error.
		_ = p.Packets(func(piece []byte, whole bool) error {
			part = append(part, piece...)
			if whole {
				packets, part = append(packets, part), nil
			}
			return nil
		})
	}
	if len(packets) > 3 || part != nil || !isHeader(packets[0], 1) || !isHeader(packets[1], 3) || !isHeader(packets[2], 5) {
		return fmt.Errorf("%w: not three Vorbis headers on pages of their own", ErrUnsupported)
	}
	comment := append([]byte("\x03vorbis"), 0, 0, 0, 0, 0, 0, 0, 0, 1)
	if _, err := ParseVorbis(packets[0], comment, packets[2]); err != nil {
		return err
	}
	if _, err := w.Write(first); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	headers := pages.paginate(serial, 1, comment, packets[2])
	for _, page := range headers {
		if _, err := w.Write(page); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
	return pages.copyAudio(w, serial, uint32(1+len(headers)-read))
}

// copyAudio copies pages without the packets that carry no audio; shift is added
// to the sequence numbers.
func (d *Reader) copyAudio(w io.Writer, serial, shift uint32) error {
	dropping := false // the packet that goes on is left out
	for {
		p, err := d.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if p.Serial != serial || p.First {
			return fmt.Errorf("%w: several logical streams", ErrUnsupported)
		}
		page := append([]byte(nil), p.Raw[:pageHeaderSize]...)
		var lacing, body []byte
		start := true
		// The callback returns no error.
		_ = p.Packets(func(piece []byte, whole bool) error {
			if !start || !p.Continued {
				dropping = len(piece) > 0 && piece[0]&1 != 0
			} else if dropping {
				page[5] &^= flagContinued
			}
			start = false
			if !dropping {
				lacing = appendLacing(lacing, len(piece), whole)
				body = append(body, piece...)
			}
			return nil
		})
		if len(lacing) == 0 && len(p.Lacing) > 0 && !p.Last {
			shift--
			continue
		}
		if p.Granule < NoGranule {
			binary.LittleEndian.PutUint64(page[6:], 0)
		}
		page[26] = byte(len(lacing))
		page = append(append(page, lacing...), body...)
		binary.LittleEndian.PutUint32(page[18:], p.Sequence+shift)
		binary.LittleEndian.PutUint32(page[22:], d.checksum(page))
		if _, err := w.Write(page); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
}

// appendLacing adds the segments of a packet piece of n bytes.
func appendLacing(lacing []byte, n int, whole bool) []byte {
	for ; n >= 255; n -= 255 {
		lacing = append(lacing, 255)
	}
	if whole {
		lacing = append(lacing, byte(n))
	}
	return lacing
}

// paginate puts header packets onto pages from sequence on; their granule
// position is 0.
func (d *Reader) paginate(serial, sequence uint32, packets ...[]byte) [][]byte {
	var lacing, body []byte
	for _, p := range packets {
		lacing = appendLacing(lacing, len(p), true)
		body = append(body, p...)
	}
	var pages [][]byte
	continued := false
	for len(lacing) > 0 {
		n := min(len(lacing), 255)
		size := 0
		for _, l := range lacing[:n] {
			size += int(l)
		}
		page := make([]byte, pageHeaderSize, pageHeaderSize+n+size)
		copy(page, "OggS")
		if continued {
			page[5] = flagContinued
		}
		whole := lacing[n-1] < 255
		if size == n*255 { // no packet ends here
			for i := range 8 {
				page[6+i] = 0xff
			}
		}
		binary.LittleEndian.PutUint32(page[14:], serial)
		binary.LittleEndian.PutUint32(page[18:], sequence+uint32(len(pages)))
		page[26] = byte(n)
		page = append(append(page, lacing[:n]...), body[:size]...)
		binary.LittleEndian.PutUint32(page[22:], d.checksum(page))
		pages = append(pages, page)
		lacing, body, continued = lacing[n:], body[size:], !whole
	}
	return pages
}
