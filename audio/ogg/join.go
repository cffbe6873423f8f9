package ogg

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// JoinSample returns the position of the first sample that a decoder yields
// when it is given the setup header and then pages, the bytes of one record
// other than the first. It needs nothing but those bytes: a page's granule
// position is where its last packet ends, and all packets of the page but the
// first have lengths that follow from their block sizes.
//
// The answer is exact for every record that a Splitter makes.
func (v *Vorbis) JoinSample(pages []byte) (uint64, error) {
	d := NewReader(bytes.NewReader(pages))
	prev, open := 0, 0
	for {
		p, err := d.Next()
		if errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("%w: no granule position in the record", ErrTruncated)
		}
		if err != nil {
			return 0, err
		}
		yielded, ended := 0, false
		first := true
		err = p.Packets(func(piece []byte, whole bool) error {
			if !first || !p.Continued {
				open = v.PacketBlock(piece)
			}
			first = false
			if whole && open != 0 {
				yielded += Overlap(prev, open)
				prev = open
			}
			ended = ended || whole
			return nil
		})
		if err != nil {
			return 0, err
		}
		if !ended {
			continue
		}
		if p.Granule < int64(yielded) {
			return 0, fmt.Errorf("%w: granule position %d", ErrCorrupt, p.Granule)
		}
		return uint64(p.Granule) - uint64(yielded), nil
	}
}
