package wire

import (
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Bounds of fields from a server, in bytes.
const (
	MaxSetup      = 64 << 10
	MaxWrappedKey = 64
	MaxURL        = 2 << 10
	MaxErrorText  = 256
)

// Head begins the answer to a PLAY.
type Head struct {
	ObjectID, SealID [16]byte
	KID              uint64
	// WrappedKey is empty when the client said that it knows the key.
	WrappedKey []byte
	Codec      Codec
	Rate       uint64 // samples per second
	Channels   uint8
	// TotalSamples is the length of the track, PreSkip what to drop at its start,
	// FirstSample where the output of a decoder begins that starts with FirstRecord.
	// All are counted per channel.
	TotalSamples, PreSkip    uint64
	RecordCount, FirstRecord uint64
	FirstSample              uint64
	// Gains in dB and peak in dBTP, as Q8.8.
	GainTrack, GainAlbum, Peak int16
	SetupID                    [8]byte
	// Setup is empty when the client said that it has it.
	Setup []byte
	// CDN is the URL of the object for ranges, or empty.
	CDN string
}

// Append appends the frame to b.
func (h *Head) Append(b []byte) []byte {
	m := make([]byte, 0, 160+len(h.Setup)+len(h.CDN))
	m = append(m, h.ObjectID[:]...)
	m = append(m, h.SealID[:]...)
	m = AppendVarint(m, h.KID)
	m = appendPrefixed(m, h.WrappedKey)
	m = append(m, byte(h.Codec))
	m = AppendVarint(m, h.Rate)
	m = append(m, h.Channels)
	m = AppendVarint(m, h.TotalSamples)
	m = AppendVarint(m, h.PreSkip)
	m = AppendVarint(m, h.RecordCount)
	m = AppendVarint(m, h.FirstRecord)
	m = AppendVarint(m, h.FirstSample)
	for _, g := range [...]int16{h.GainTrack, h.GainAlbum, h.Peak} {
		m = binary.BigEndian.AppendUint16(m, uint16(g))
	}
	m = append(m, h.SetupID[:]...)
	m = appendPrefixed(m, h.Setup)
	m = appendPrefixed(m, []byte(h.CDN))
	return appendFrame(b, TypeHead, m)
}

// ParseHead parses a payload. Nothing of the answer points into it.
func ParseHead(payload []byte) (*Head, error) {
	f := fields{b: payload, what: "HEAD"}
	h := &Head{}
	h.ObjectID = f.id()
	h.SealID = f.id()
	h.KID = f.varint()
	h.WrappedKey = append([]byte(nil), f.prefixed(MaxWrappedKey)...)
	h.Codec = Codec(f.byte())
	h.Rate = f.varint()
	h.Channels = f.byte()
	h.TotalSamples = f.varint()
	h.PreSkip = f.varint()
	h.RecordCount = f.varint()
	h.FirstRecord = f.varint()
	h.FirstSample = f.varint()
	h.GainTrack, h.GainAlbum, h.Peak = f.int16(), f.int16(), f.int16()
	h.SetupID = f.setup()
	h.Setup = append([]byte(nil), f.prefixed(MaxSetup)...)
	h.CDN = string(f.prefixed(MaxURL))
	if err := f.done(); err != nil {
		return nil, err
	}
	switch {
	case h.RecordCount == 0 || h.RecordCount > math.MaxUint32 || h.FirstRecord >= h.RecordCount:
		return nil, Errorf(BadFrame, "HEAD: record %d of %d", h.FirstRecord, h.RecordCount)
	case h.Rate == 0 || h.Rate > 1<<20 || h.Channels == 0:
		return nil, Errorf(BadFrame, "HEAD: %d channels at %d Hz", h.Channels, h.Rate)
	case h.FirstSample > h.TotalSamples:
		return nil, Errorf(BadFrame, "HEAD: begins at sample %d of %d", h.FirstSample, h.TotalSamples)
	}
	return h, nil
}

// Rec is one record.
type Rec struct {
	Number uint64
	// Ciphertext is an SFrame ciphertext with its header.
	Ciphertext []byte
}

// Append appends the frame to b.
func (r Rec) Append(b []byte) []byte {
	return append(AppendRecHeader(b, r.Number, len(r.Ciphertext)), r.Ciphertext...)
}

// AppendRecHeader appends all of a REC frame but its ciphertext of size bytes.
func AppendRecHeader(b []byte, number uint64, size int) []byte {
	b = AppendVarint(b, uint64(TypeRec))
	b = AppendVarint(b, uint64(VarintLen(number)+size))
	return AppendVarint(b, number)
}

// ParseRec parses a payload; Ciphertext is a part of it.
func ParseRec(payload []byte) (Rec, error) {
	f := fields{b: payload, what: "REC"}
	r := Rec{Number: f.varint(), Ciphertext: f.rest()}
	if err := f.done(); err != nil {
		return Rec{}, err
	}
	if len(r.Ciphertext) == 0 {
		return Rec{}, Errorf(BadFrame, "REC: empty")
	}
	return r, nil
}

// Reason says why a stream ended in good order.
type Reason uint8

// The reasons of END.
const (
	TrackEnd     Reason = 0
	UntilReached Reason = 1
	OnlyHead     Reason = 2
)

// End is the last frame of a stream that ended in good order.
type End struct {
	Reason Reason
	// LastRecord is the number of the last record sent, 0 when there was none.
	LastRecord uint64
}

// Append appends the frame to b.
func (e End) Append(b []byte) []byte {
	return appendFrame(b, TypeEnd, AppendVarint([]byte{byte(e.Reason)}, e.LastRecord))
}

// ParseEnd parses a payload.
func ParseEnd(payload []byte) (End, error) {
	f := fields{b: payload, what: "END"}
	e := End{Reason: Reason(f.byte()), LastRecord: f.varint()}
	return e, f.done()
}

// Append appends the ERR frame to b.
func (e *Error) Append(b []byte) []byte {
	m := AppendVarint(nil, uint64(e.Code))
	m = AppendVarint(m, uint64(max(e.RetryAfter.Milliseconds(), 0)))
	text := strings.ToValidUTF8(e.Text, "")
	if len(text) > MaxErrorText {
		text = strings.ToValidUTF8(text[:MaxErrorText], "")
	}
	return appendFrame(b, TypeErr, append(m, text...))
}

// ParseErr parses a payload.
func ParseErr(payload []byte) (*Error, error) {
	f := fields{b: payload, what: "ERR"}
	e := &Error{Code: Code(f.varint())}
	ms := f.varint()
	text := f.rest()
	if err := f.done(); err != nil {
		return nil, err
	}
	if len(text) > MaxErrorText {
		return nil, Errorf(BadFrame, "ERR: text of %d bytes", len(text))
	}
	// A server that asks for more than a day is not taken at its word.
	e.RetryAfter = time.Duration(min(ms, uint64(24*time.Hour/time.Millisecond))) * time.Millisecond
	e.Text = strings.ToValidUTF8(string(text), "\ufffd")
	return e, nil
}

// State is one state of the player.
type State struct {
	Revision uint64
	// Player is a segue.playback.v1.PlayerState; this package does not look inside.
	Player []byte
}

// Append appends the frame to b.
func (s State) Append(b []byte) []byte {
	return appendFrame(b, TypeState, append(AppendVarint(nil, s.Revision), s.Player...))
}

// ParseState parses a payload; Player is a part of it.
func ParseState(payload []byte) (State, error) {
	f := fields{b: payload, what: "STATE"}
	s := State{Revision: f.varint(), Player: f.rest()}
	return s, f.done()
}
