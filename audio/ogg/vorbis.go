package ogg

import (
	"encoding/binary"
	"fmt"
)

// Vorbis is what the three headers of a Vorbis stream say about its packets.
type Vorbis struct {
	// Rate is in samples per second, Channels 1 to 255.
	Rate     int
	Channels int
	// Nominal, Minimum and Maximum are the bit rates of the identification
	// header in bit/s; 0 is not set.
	Nominal, Minimum, Maximum int
	// BlockSizes are the short and the long block in samples, powers of two from
	// 64 to 8192.
	BlockSizes [2]int
	// Vendor is the encoder's name, as it stands (not cleaned).
	Vendor string
	// Comments is the number of comments; audio/tag reads them.
	Comments int

	modes    []uint8
	modeBits int
}

// PacketBlock returns the block size of an audio packet in samples (Vorbis I,
// section 4.3.1), or 0 for a packet that carries no audio: an empty one or one
// that is not marked as audio. Decoders drop those.
func (v *Vorbis) PacketBlock(packet []byte) int {
	if len(packet) == 0 || packet[0]&1 != 0 {
		return 0
	}
	b := bitReader{data: packet, pos: 1}
	mode := int(b.read(v.modeBits))
	if b.past || mode >= len(v.modes) {
		return 0
	}
	return v.BlockSizes[v.modes[mode]]
}

// Overlap returns the samples that a decoder yields for a packet of block size
// cur after one of block size prev (Vorbis I, section 4.3.8). prev 0 stands for
// a decoder that has just started: it yields none.
func Overlap(prev, cur int) int {
	if prev == 0 || cur == 0 {
		return 0
	}
	return prev/4 + cur/4
}

// ParseVorbis parses the identification, comment and setup packets.
func ParseVorbis(ident, comment, setup []byte) (*Vorbis, error) {
	v := &Vorbis{}
	if err := v.parseIdent(ident); err != nil {
		return nil, err
	}
	if err := v.parseComment(comment); err != nil {
		return nil, err
	}
	if err := v.parseSetup(setup); err != nil {
		return nil, err
	}
	return v, nil
}

func isHeader(packet []byte, kind byte) bool {
	return len(packet) >= 7 && packet[0] == kind && string(packet[1:7]) == "vorbis"
}

func (v *Vorbis) parseIdent(p []byte) error {
	if !isHeader(p, 1) || len(p) < 30 {
		return fmt.Errorf("%w: no Vorbis identification header", ErrUnsupported)
	}
	if version := binary.LittleEndian.Uint32(p[7:]); version != 0 {
		return fmt.Errorf("%w: Vorbis version %d", ErrUnsupported, version)
	}
	v.Channels = int(p[11])
	rate := binary.LittleEndian.Uint32(p[12:])
	v.Maximum = rateField(p[16:])
	v.Nominal = rateField(p[20:])
	v.Minimum = rateField(p[24:])
	short, long := p[28]&15, p[28]>>4
	switch {
	case v.Channels == 0 || rate == 0 || rate > 1<<20:
		return fmt.Errorf("%w: %d channels at %d Hz", ErrCorrupt, v.Channels, rate)
	case short < 6 || long > 13 || short > long:
		return fmt.Errorf("%w: block sizes 2^%d and 2^%d", ErrCorrupt, short, long)
	case p[29]&1 == 0:
		return fmt.Errorf("%w: identification header without framing bit", ErrCorrupt)
	}
	v.Rate = int(rate)
	v.BlockSizes = [2]int{1 << short, 1 << long}
	return nil
}

// rateField reads a bit rate; -1 and other negatives mean not set.
func rateField(p []byte) int {
	return max(int(int32(binary.LittleEndian.Uint32(p))), 0)
}

func (v *Vorbis) parseComment(p []byte) error {
	if !isHeader(p, 3) {
		return fmt.Errorf("%w: no Vorbis comment header", ErrCorrupt)
	}
	p = p[7:]
	field := func() ([]byte, bool) {
		if len(p) < 4 {
			return nil, false
		}
		n := binary.LittleEndian.Uint32(p)
		if uint64(n) > uint64(len(p)-4) {
			return nil, false
		}
		f := p[4 : 4+n]
		p = p[4+n:]
		return f, true
	}
	vendor, ok := field()
	if !ok || len(p) < 4 {
		return fmt.Errorf("%w: comment header ends early", ErrCorrupt)
	}
	v.Vendor = string(vendor)
	count := binary.LittleEndian.Uint32(p)
	p = p[4:]
	// Each comment needs its four length bytes, so the count cannot lie far.
	if uint64(count)*4 > uint64(len(p)) {
		return fmt.Errorf("%w: %d comments in %d bytes", ErrCorrupt, count, len(p))
	}
	for range count {
		if _, ok := field(); !ok {
			return fmt.Errorf("%w: comment header ends early", ErrCorrupt)
		}
	}
	v.Comments = int(count)
	return nil
}
