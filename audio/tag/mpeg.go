package tag

import (
	"encoding/binary"
	"fmt"
)

// frameInfo is the header of an MPEG audio frame (ISO 11172-3, 2.4.1.3).
type frameInfo struct {
	layer, rate, channels, bitRate int
	size                           int
	samples                        int
	lsf                            bool // MPEG-2 and 2.5: half the samples
}

func parseFrame(b []byte) (frameInfo, bool) {
	var f frameInfo
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe0 != 0xe0 {
		return f, false
	}
	version, layerBits := b[1]>>3&3, b[1]>>1&3
	rateIndex, bits, padding := b[2]>>2&3, b[2]>>4, int(b[2]>>1&1)
	if version == 1 || layerBits == 0 || rateIndex == 3 || bits == 0 || bits == 15 {
		return f, false
	}
	f.layer = 4 - int(layerBits)
	f.lsf = version != 3
	f.rate = [3]int{44100, 48000, 32000}[rateIndex]
	switch version {
	case 2:
		f.rate /= 2
	case 0:
		f.rate /= 4
	}
	f.channels = 2
	if b[3]>>6 == 3 {
		f.channels = 1
	}
	f.bitRate = frameBitRate(f.layer, f.lsf, int(bits)) * 1000
	switch {
	case f.layer == 1:
		f.samples = 384
		f.size = (12*f.bitRate/f.rate + padding) * 4
	case f.layer == 3 && f.lsf:
		f.samples = 576
		f.size = 72*f.bitRate/f.rate + padding
	default:
		f.samples = 1152
		f.size = 144*f.bitRate/f.rate + padding
	}
	return f, f.size > 4
}

// frameBitRate is in kbit/s, for index 1 to 14.
func frameBitRate(layer int, lsf bool, index int) int {
	var table [15]int
	switch {
	case !lsf && layer == 1:
		table = [15]int{0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448}
	case !lsf && layer == 2:
		table = [15]int{0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384}
	case !lsf:
		table = [15]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
	case layer == 1:
		table = [15]int{0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256}
	default:
		table = [15]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}
	}
	return table[index]
}

// maxSyncSearch bounds the search for the first frame, in bytes: padding after
// a tag can be long.
const maxSyncSearch = 256 << 10

// readMPEG reads the stream facts of MPEG audio that begins at or after off.
func readMPEG(s *source, off int64, t *Tags, raw fields) error {
	at, f, ok := findFrame(s, off)
	if !ok {
		return fmt.Errorf("%w: no MPEG audio frame", ErrUnknown)
	}
	t.Container = MP3
	t.Codec = [4]string{"", "mp1", "mp2", "mp3"}[f.layer]
	t.Rate, t.Channels = f.rate, f.channels
	end := s.size - readID3v1(s, raw)
	if t.frameCount(s, at, f, end) {
		return nil
	}
	t.Estimated = true
	t.BitRate = f.bitRate
	t.Duration = seconds(uint64(end-at)*8, f.bitRate)
	return nil
}

// findFrame finds a frame that another frame of the same kind follows.
func findFrame(s *source, off int64) (int64, frameInfo, bool) {
	for at := off; at < min(off+maxSyncSearch, s.size); {
		b := s.peek(at, blockSize)
		if len(b) < 4 {
			break
		}
		for i := 0; i+4 <= len(b); i++ {
			if b[i] != 0xff {
				continue
			}
			f, ok := parseFrame(b[i:])
			if !ok {
				continue
			}
			here := at + int64(i)
			// Away from its place a frame needs more frames behind it: any data has
			// bytes that look like one.
			wanted := 1
			if here != off {
				wanted = 3
			}
			if followed(s, here, f, wanted) {
				return here, f, true
			}
			b = s.peek(at, blockSize)
		}
		at += int64(max(len(b)-3, 1))
	}
	return 0, frameInfo{}, false
}

// followed reports whether n frames like f, or the end, follow f.
func followed(s *source, at int64, f frameInfo, n int) bool {
	size := f.size
	for range n {
		at += int64(size)
		b := s.peek(at, 4)
		if at == s.size || len(b) >= 3 && string(b[:3]) == "TAG" {
			return true
		}
		g, ok := parseFrame(b)
		if !ok || g.layer != f.layer || g.rate != f.rate || g.lsf != f.lsf {
			return false
		}
		size = g.size
	}
	return true
}

// frameCount takes the length from a Xing, Info or VBRI header.
func (t *Tags) frameCount(s *source, at int64, f frameInfo, end int64) bool {
	b := s.peek(at, min(f.size, 512))
	side := 32 // the side information, ISO 11172-3, 2.4.1.7
	switch {
	case f.lsf && f.channels == 1:
		side = 9
	case f.lsf || f.channels == 1:
		side = 17
	}
	var frames uint64
	skip := uint64(0)
	if x := 4 + side; len(b) >= x+12 && (string(b[x:x+4]) == "Xing" || string(b[x:x+4]) == "Info") {
		flags := binary.BigEndian.Uint32(b[x+4:])
		if flags&1 == 0 {
			return false
		}
		frames = uint64(binary.BigEndian.Uint32(b[x+8:]))
		skip = lameDelay(b[x:], flags)
	} else if x := 36; len(b) >= x+18 && string(b[x:x+4]) == "VBRI" {
		frames = uint64(binary.BigEndian.Uint32(b[x+14:]))
	}
	samples := frames * uint64(f.samples)
	if frames == 0 || samples <= skip {
		return false
	}
	t.Duration = seconds(samples-skip, f.rate)
	t.BitRate = perSecond(end-at, t.Duration)
	return t.Duration > 0
}

// lameDelay returns the samples that LAME's gapless fields say are padding.
func lameDelay(b []byte, flags uint32) uint64 {
	off := 8
	for bit, size := range [4]int{4, 4, 100, 4} {
		if flags&(1<<bit) != 0 {
			off += size
		}
	}
	if len(b) < off+24 {
		return 0
	}
	if v := string(b[off : off+4]); v != "LAME" && v != "Lavf" && v != "Lavc" {
		return 0
	}
	d := b[off+21:]
	delay := uint64(d[0])<<4 | uint64(d[1])>>4
	padding := uint64(d[1]&15)<<8 | uint64(d[2])
	return delay + padding
}
