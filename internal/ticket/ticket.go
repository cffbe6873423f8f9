// Package ticket is the leave of one session to stream for ten minutes: what playback
// knows about the listener, under a MAC that an edge checks without asking anyone.
//
// Version 1, big endian: version 1, key id 4, session 16, user 16, device 16, hash of the
// device's key 32, active epoch 8, expiry in Unix milliseconds 8, greatest kbit/s 4,
// session key id 4, flags 1 (bit 0: explicit allowed), market and plan each after a
// length of 1, and the first 16 bytes of the HMAC-SHA256 of all that. The MAC's key is
// derived from the ring's ticket key, which serves other ends too.
package ticket

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/stream/id"
)

var (
	// ErrInvalid refuses what no key of the ring has signed, whatever is wrong with it.
	ErrInvalid = errors.New("ticket is not valid")
	// ErrExpired refuses a genuine ticket after its time.
	ErrExpired = errors.New("ticket has expired")
)

// The format and its bounds.
const (
	// MaxSize of a ticket in bytes: what a PLAY frame has room for.
	MaxSize = 256
	// MaxMarket and MaxPlan bound the texts in bytes.
	MaxMarket = 8
	MaxPlan   = 32

	version   = 1
	fixedSize = 1 + 4 + 3*16 + 32 + 8 + 8 + 4 + 4 + 1
	macSize   = 16

	flagExplicit = 1 << 0
)

// Ticket is what is granted.
type Ticket struct {
	SessionID, UserID, DeviceID id.ID
	Market, Plan                string
	MaxKbps                     uint32
	// DeviceKeyHash is the SHA-256 of the device's X25519 public key.
	DeviceKeyHash [32]byte
	ActiveEpoch   uint64
	// SessionKeyID names the ticket key from which the session's key was derived when
	// it was opened. It stays through renewals, whatever key signs them.
	SessionKeyID    uint32
	ExplicitAllowed bool
	// Expires is kept to the millisecond.
	Expires time.Time
}

// Mint signs t with the newest key. It returns nil for a market or plan that is too long,
// which verifies as nothing.
func Mint(keys []keyring.Key, t Ticket) []byte {
	if len(keys) == 0 || len(t.Market) > MaxMarket || len(t.Plan) > MaxPlan {
		return nil
	}
	b := make([]byte, 0, fixedSize+2+len(t.Market)+len(t.Plan)+macSize)
	b = append(b, version)
	b = binary.BigEndian.AppendUint32(b, keys[0].ID)
	b = append(b, t.SessionID[:]...)
	b = append(b, t.UserID[:]...)
	b = append(b, t.DeviceID[:]...)
	b = append(b, t.DeviceKeyHash[:]...)
	b = binary.BigEndian.AppendUint64(b, t.ActiveEpoch)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Expires.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, t.MaxKbps)
	b = binary.BigEndian.AppendUint32(b, t.SessionKeyID)
	var flags byte
	if t.ExplicitAllowed {
		flags |= flagExplicit
	}
	b = append(b, flags)
	b = append(append(b, byte(len(t.Market))), t.Market...)
	b = append(append(b, byte(len(t.Plan))), t.Plan...)
	return append(b, mac(keys[0], b)...)
}

// Verify reads a ticket that any key of the ring has signed. The MAC is compared in
// constant time and before anything in the ticket is believed.
func Verify(keys []keyring.Key, b []byte, now time.Time) (Ticket, error) {
	if len(b) < fixedSize+2+macSize || len(b) > MaxSize || b[0] != version {
		return Ticket{}, ErrInvalid
	}
	body, sum := b[:len(b)-macSize], b[len(b)-macSize:]
	keyID := binary.BigEndian.Uint32(b[1:])
	genuine := false
	for _, k := range keys {
		genuine = genuine || (k.ID == keyID && hmac.Equal(sum, mac(k, body)))
	}
	if !genuine {
		return Ticket{}, ErrInvalid
	}
	t, ok := parse(body[5:])
	if !ok {
		return Ticket{}, ErrInvalid
	}
	if !now.Before(t.Expires) {
		return Ticket{}, ErrExpired
	}
	return t, nil
}

func parse(b []byte) (t Ticket, ok bool) {
	take := func(n int) []byte {
		head := b[:n]
		b = b[n:]
		return head
	}
	t.SessionID, t.UserID, t.DeviceID = id.ID(take(16)), id.ID(take(16)), id.ID(take(16))
	t.DeviceKeyHash = [32]byte(take(32))
	t.ActiveEpoch = binary.BigEndian.Uint64(take(8))
	t.Expires = time.UnixMilli(int64(binary.BigEndian.Uint64(take(8)))).UTC()
	t.MaxKbps = binary.BigEndian.Uint32(take(4))
	t.SessionKeyID = binary.BigEndian.Uint32(take(4))
	flags := take(1)[0]
	t.ExplicitAllowed = flags&flagExplicit != 0
	for _, text := range []*string{&t.Market, &t.Plan} {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return Ticket{}, false
		}
		n := int(take(1)[0])
		*text = string(take(n))
	}
	return t, len(b) == 0 && flags&^flagExplicit == 0
}

func mac(k keyring.Key, body []byte) []byte {
	key := k.Derive("playback ticket mac")
	h := hmac.New(sha256.New, key[:])
	_, _ = h.Write(body) // a hash never fails
	return h.Sum(nil)[:macSize]
}
