package wire

// Version is the version byte of PLAY and WATCH.
const Version = 1

// MaxTicket and MaxSetups bound fields of PLAY.
const (
	MaxTicket = 256
	MaxSetups = 16
)

// Flags of a PLAY.
type Flags uint8

// The flags of a PLAY.
const (
	Prefetch Flags = 1 << iota
	KeyKnown
	HeadOnly
	NoIndex
)

// Quality is the quality byte of a PLAY.
type Quality uint8

// The qualities of a PLAY.
const (
	Auto Quality = iota
	Kbps24
	Kbps96
	Kbps160
	Kbps320
)

// Kbps is the nominal bit rate, 0 for Auto.
func (q Quality) Kbps() uint32 {
	switch q {
	case Kbps24:
		return 24
	case Kbps96:
		return 96
	case Kbps160:
		return 160
	case Kbps320:
		return 320
	default:
		return 0
	}
}

// Codecs is a set of codecs: bit n-1 for Codec n.
type Codecs uint8

// Has reports whether c is in the set.
func (s Codecs) Has(c Codec) bool { return c >= 1 && c <= 8 && s&(1<<(c-1)) != 0 }

// Codec is a sound codec.
type Codec uint8

// The codecs of HEAD.
const (
	Vorbis Codec = 1
	Opus   Codec = 2
	FLAC   Codec = 3
)

// Set is the set of c alone.
func (c Codec) Set() Codecs { return 1 << (c - 1) }

// Play asks for a track, or a part of it, on the stream that it opens.
type Play struct {
	Flags   Flags
	Track   [16]byte
	PlayID  [16]byte
	Quality Quality
	Codecs  Codecs
	// FromMs and UntilMs (0 is the end) are positions in the track, CreditMs is
	// counted from FromMs (0 is the default of the server).
	FromMs, UntilMs, CreditMs uint64
	// Have are the setups that the client holds, at most MaxSetups.
	Have   [][8]byte
	Ticket []byte
}

// Append appends the frame to b.
func (p *Play) Append(b []byte) []byte {
	m := make([]byte, 0, 64+8*len(p.Have)+len(p.Ticket))
	m = append(m, Version, byte(p.Flags))
	m = append(m, p.Track[:]...)
	m = append(m, p.PlayID[:]...)
	m = append(m, byte(p.Quality), byte(p.Codecs))
	m = AppendVarint(m, p.FromMs)
	m = AppendVarint(m, p.UntilMs)
	m = AppendVarint(m, p.CreditMs)
	m = append(m, byte(len(p.Have)))
	for _, id := range p.Have {
		m = append(m, id[:]...)
	}
	m = appendPrefixed(m, p.Ticket)
	return appendFrame(b, TypePlay, m)
}

// ParsePlay parses a payload. Nothing of the answer points into it.
func ParsePlay(payload []byte) (*Play, error) {
	f := fields{b: payload, what: "PLAY"}
	p := &Play{}
	if v := f.byte(); f.err == nil && v != Version {
		f.fail("version %d", v)
	}
	p.Flags = Flags(f.byte())
	p.Track = f.id()
	p.PlayID = f.id()
	p.Quality = Quality(f.byte())
	p.Codecs = Codecs(f.byte())
	p.FromMs = f.varint()
	p.UntilMs = f.varint()
	p.CreditMs = f.varint()
	n := int(f.byte())
	switch {
	case f.err != nil:
	case n > MaxSetups:
		f.fail("%d setups", n)
	case p.Quality > Kbps320:
		f.fail("quality %d", p.Quality)
	case p.PlayID == [16]byte{}:
		f.fail("no play id")
	}
	for range n {
		if f.err != nil {
			break
		}
		p.Have = append(p.Have, f.setup())
	}
	p.Ticket = append([]byte(nil), f.prefixed(MaxTicket)...)
	if err := f.done(); err != nil {
		return nil, err
	}
	return p, nil
}

// Credit allows the server to send up to a position in the track.
type Credit struct{ UntilMs uint64 }

// Append appends the frame to b.
func (c Credit) Append(b []byte) []byte {
	return appendFrame(b, TypeCredit, AppendVarint(nil, c.UntilMs))
}

// ParseCredit parses a payload.
func ParseCredit(payload []byte) (Credit, error) {
	f := fields{b: payload, what: "CREDIT"}
	c := Credit{UntilMs: f.varint()}
	return c, f.done()
}

// Watch asks for the player state from a revision on.
type Watch struct {
	Since  uint64
	Ticket []byte
}

// Append appends the frame to b.
func (w *Watch) Append(b []byte) []byte {
	m := AppendVarint([]byte{Version}, w.Since)
	return appendFrame(b, TypeWatch, appendPrefixed(m, w.Ticket))
}

// ParseWatch parses a payload. Nothing of the answer points into it.
func ParseWatch(payload []byte) (*Watch, error) {
	f := fields{b: payload, what: "WATCH"}
	w := &Watch{}
	if v := f.byte(); f.err == nil && v != Version {
		f.fail("version %d", v)
	}
	w.Since = f.varint()
	w.Ticket = append([]byte(nil), f.prefixed(MaxTicket)...)
	if err := f.done(); err != nil {
		return nil, err
	}
	return w, nil
}
