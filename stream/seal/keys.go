package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Sizes in bytes.
const (
	// SealedKeySize is that of a session key sealed to a device.
	SealedKeySize = 32 + 16 + 16
	// WrappedKeySize is that of a content key wrapped for a session.
	WrappedKeySize = nonceSize + 16 + 16

	nonceSize = 12
)

// ErrKey means that a sealed or wrapped key does not open: it is damaged, or made for
// another device, session or object.
var ErrKey = errors.New("seal: key does not open")

func sessionInfo(sessionID [16]byte) []byte {
	return append([]byte("segue/1 session key"), sessionID[:]...)
}

// SealSessionKey seals a session key to a device's X25519 public key by HPKE base mode
// (RFC 9180): encapsulated key (32) || ciphertext (32).
func SealSessionKey(devicePublic []byte, sessionID, key [16]byte) ([]byte, error) { //nolint:revive // the pair of OpenSessionKey
	public, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(devicePublic)
	if err != nil {
		return nil, fmt.Errorf("read device key: %w", err)
	}
	sealed, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES128GCM(), sessionInfo(sessionID), key[:])
	if err != nil {
		return nil, fmt.Errorf("seal session key: %w", err)
	}
	return sealed, nil
}

// OpenSessionKey undoes SealSessionKey on the device; ErrKey.
func OpenSessionKey(devicePrivate *ecdh.PrivateKey, sessionID [16]byte, sealed []byte) (key [16]byte, err error) {
	if len(sealed) != SealedKeySize {
		return key, ErrKey
	}
	private, err := hpke.NewDHKEMPrivateKey(devicePrivate)
	if err != nil {
		return key, fmt.Errorf("read device key: %w", err)
	}
	opened, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES128GCM(), sessionInfo(sessionID), sealed)
	if err != nil || len(opened) != len(key) {
		return key, ErrKey
	}
	copy(key[:], opened)
	return key, nil
}

// WrapKey wraps a content key under a session key: nonce (12) || ciphertext (32).
func WrapKey(kek, base, objectID, sealID [16]byte, kid uint64, sessionID [16]byte, random io.Reader) ([]byte, error) {
	aead, err := gcm(kek)
	if err != nil {
		return nil, err
	}
	out := make([]byte, nonceSize, WrappedKeySize)
	if _, err := io.ReadFull(random, out); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	return aead.Seal(out, out, base[:], wrapAAD(objectID, sealID, kid, sessionID)), nil
}

// UnwrapKey undoes WrapKey; ErrKey.
func UnwrapKey(kek [16]byte, wrapped []byte, objectID, sealID [16]byte, kid uint64, sessionID [16]byte) (base [16]byte, err error) {
	if len(wrapped) != WrappedKeySize {
		return base, ErrKey
	}
	aead, err := gcm(kek)
	if err != nil {
		return base, err
	}
	opened, err := aead.Open(nil, wrapped[:nonceSize], wrapped[nonceSize:], wrapAAD(objectID, sealID, kid, sessionID))
	if err != nil {
		return base, ErrKey
	}
	copy(base[:], opened)
	return base, nil
}

func gcm(key [16]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

func wrapAAD(objectID, sealID [16]byte, kid uint64, sessionID [16]byte) []byte {
	b := append(make([]byte, 0, 56), objectID[:]...)
	b = append(b, sealID[:]...)
	b = binary.BigEndian.AppendUint64(b, kid)
	return append(b, sessionID[:]...)
}
