package tag

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

const (
	maxBoxes     = 4096
	maxBoxDepth  = 10
	maxItemValue = 256 << 10
)

// mp4 walks the boxes of ISO 14496-12.
type mp4 struct {
	s      *source
	t      *Tags
	raw    fields
	boxes  int
	media  int64 // bytes of mdat
	inMoov bool

	trackRate int // media timescale of the current track
	trackLen  uint64
	sound     bool // the current track is sound
	done      bool // the first sound track has been taken
}

func readMP4(s *source, t *Tags, raw fields) error {
	t.Container = MP4
	d := &mp4{s: s, t: t, raw: raw}
	d.walk(0, s.size, "", 0)
	if !d.inMoov {
		return fmt.Errorf("%w: MP4 without moov", ErrCorrupt)
	}
	if t.Codec == "" {
		return fmt.Errorf("%w: MP4 without sound", ErrUnknown)
	}
	t.BitRate = perSecond(d.media, t.Duration)
	return nil
}

// walk visits the boxes from at to end, whose parent is in.
func (d *mp4) walk(at, end int64, in string, depth int) {
	if depth > maxBoxDepth {
		return
	}
	for at+8 <= end && d.boxes < maxBoxes {
		d.boxes++
		h := d.s.peek(at, 16)
		if len(h) < 8 {
			return
		}
		size, head := int64(binary.BigEndian.Uint32(h)), int64(8)
		kind := string(h[4:8])
		switch size {
		case 0:
			size = end - at
		case 1:
			if len(h) < 16 {
				return
			}
			size, head = int64(binary.BigEndian.Uint64(h[8:])), 16
		}
		// A file that is cut off may still hold its tags.
		if size < head || size > end-at {
			if depth > 0 || size < head {
				return
			}
			size = end - at
		}
		d.box(kind, at+head, at+size, in, depth)
		at += size
	}
}

func (d *mp4) box(kind string, at, end int64, in string, depth int) {
	switch in + "/" + kind {
	case "/mdat":
		d.media += end - at
	case "/moov":
		d.inMoov = true
		d.walk(at, end, "moov", depth+1)
	case "moov/trak":
		d.trackRate, d.trackLen, d.sound = 0, 0, false
		d.walk(at, end, "trak", depth+1)
	case "trak/mdia", "mdia/minf", "minf/stbl", "moov/udta":
		d.walk(at, end, kind, depth+1)
	case "udta/meta", "moov/meta":
		// ISO has version and flags here, QuickTime has none.
		if b := d.s.peek(at, 8); len(b) == 8 && string(b[4:8]) != "hdlr" {
			at += 4
		}
		d.walk(at, end, "meta", depth+1)
	case "meta/ilst":
		d.items(at, end)
	case "mdia/mdhd":
		d.mediaHeader(d.s.peek(at, 36))
	case "mdia/hdlr":
		b := d.s.peek(at, 12)
		d.sound = len(b) == 12 && string(b[8:12]) == "soun"
	case "stbl/stsd":
		d.sampleEntry(d.s.peek(at, 48))
	}
}

func (d *mp4) mediaHeader(b []byte) {
	switch {
	case len(b) >= 20 && b[0] == 0:
		d.trackRate = int(binary.BigEndian.Uint32(b[12:]))
		if n := binary.BigEndian.Uint32(b[16:]); n != 1<<32-1 {
			d.trackLen = uint64(n)
		}
	case len(b) >= 32 && b[0] == 1:
		d.trackRate = int(binary.BigEndian.Uint32(b[20:]))
		d.trackLen = binary.BigEndian.Uint64(b[24:])
	}
}

// sampleEntry reads the first AudioSampleEntry of stsd.
func (d *mp4) sampleEntry(b []byte) {
	if !d.sound || d.done || len(b) < 8+36 {
		return
	}
	e := b[8:]
	switch kind := string(e[4:8]); kind {
	case "mp4a":
		d.t.Codec = "aac"
	case "alac":
		d.t.Codec = "alac"
	case "Opus":
		d.t.Codec = "opus"
	case "fLaC":
		d.t.Codec = "flac"
	default:
		d.t.Codec = strings.ToLower(line(kind))
	}
	if d.t.Codec == "" {
		return
	}
	d.done = true
	d.t.Channels = int(binary.BigEndian.Uint16(e[24:]))
	if d.t.Codec == "alac" || d.t.Codec == "flac" {
		d.t.BitDepth = int(binary.BigEndian.Uint16(e[26:]))
	}
	d.t.Rate = int(binary.BigEndian.Uint32(e[32:]) >> 16)
	if d.t.Rate == 0 { // rates above 65535 do not fit
		d.t.Rate = d.trackRate
	}
	d.t.Duration = seconds(d.trackLen, d.trackRate)
}

// items reads ilst: each child is an item with data boxes.
func (d *mp4) items(at, end int64) {
	d.each(at, end, func(kind string, at, end int64) {
		var mean, name string
		d.each(at, end, func(part string, from, to int64) {
			switch part {
			case "mean", "name":
				b := d.s.copy(from, int(min(to-from, 256)))
				if len(b) < 4 {
					return
				}
				if part == "mean" {
					mean = string(b[4:])
				} else {
					name = string(b[4:])
				}
			case "data":
				if kind == "----" {
					// Any application's names will do; the common one is
					// com.apple.iTunes.
					if mean != "" && name != "" && !strings.HasPrefix(name, "iTun") {
						d.value(name, from, to, "")
					}
					return
				}
				d.value("", from, to, kind)
			}
		})
	})
}

func (d *mp4) each(at, end int64, visit func(kind string, at, end int64)) {
	for at+8 <= end && d.boxes < maxBoxes {
		d.boxes++
		h := d.s.peek(at, 8)
		if len(h) < 8 {
			return
		}
		size, kind := int64(binary.BigEndian.Uint32(h)), string(h[4:8])
		if size < 8 || size > end-at {
			return
		}
		visit(kind, at+8, at+size)
		at += size
	}
}

// value reads one data box: type, locale, bytes.
func (d *mp4) value(key string, at, end int64, kind string) {
	h := d.s.peek(at, 8)
	if len(h) < 8 || end-at <= 8 {
		return
	}
	format := binary.BigEndian.Uint32(h) & 0xffffff
	at += 8
	if kind == "covr" {
		mime := map[uint32]string{13: "image/jpeg", 14: "image/png"}[format]
		d.t.addPicture(Picture{MIME: mime, Kind: FrontCover, Size: end - at, offset: at})
		return
	}
	if end-at > maxItemValue {
		return
	}
	b := d.s.copy(at, int(end-at))
	if key == "" {
		if key = itemKey(kind); key == "" {
			return
		}
	}
	switch kind {
	case "trkn", "disk":
		if len(b) >= 6 {
			d.raw.add(key, fmt.Sprintf("%d/%d", binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[4:])))
		}
		return
	case "gnre":
		if len(b) == 2 {
			n := int64(binary.BigEndian.Uint16(b)) - 1
			if names := genres(); n >= 0 && n < int64(len(names)) {
				d.raw.add(key, names[n])
			}
		}
		return
	}
	switch format {
	case 1:
		d.raw.add(key, string(b))
	case 2:
		d.raw.add(key, utf16Text(b, true))
	case 0, 21:
		if (kind == "cpil" || kind == "rtng") && len(b) > 0 {
			d.raw.add(key, strconv.Itoa(int(b[len(b)-1])))
		} else if format == 0 && kind == "" {
			d.raw.add(key, string(b))
		}
	}
}

// itemKey gives the fields key of an iTunes item; © is the byte A9.
func itemKey(kind string) string {
	switch kind {
	case "\xa9nam":
		return "TITLE"
	case "\xa9ART":
		return "ARTIST"
	case "aART":
		return "ALBUMARTIST"
	case "\xa9alb":
		return "ALBUM"
	case "\xa9wrt":
		return "COMPOSER"
	case "\xa9gen", "gnre":
		return "GENRE"
	case "\xa9day":
		return "DATE"
	case "\xa9cmt":
		return "COMMENT"
	case "\xa9lyr":
		return "LYRICS"
	case "cprt":
		return "COPYRIGHT"
	case "trkn":
		return "TRACKNUMBER"
	case "disk":
		return "DISCNUMBER"
	case "cpil":
		return "COMPILATION"
	case "rtng":
		return "ITUNESADVISORY"
	}
	return ""
}
