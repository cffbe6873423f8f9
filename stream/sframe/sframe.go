// Package sframe is SFrame (RFC 9605): authenticated encryption of media units with
// a key id and a counter in front of each.
//
// All cipher suites of the RFC are here. Segue uses AES128GCM with one record of
// whole Ogg pages as the unit.
package sframe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// Suite is a cipher suite (RFC 9605, section 8.1).
type Suite uint16

// The cipher suites.
const (
	AES128CTRHMAC80 Suite = 1
	AES128CTRHMAC64 Suite = 2
	AES128CTRHMAC32 Suite = 3
	AES128GCM       Suite = 4 // AES_128_GCM_SHA256_128
	AES256GCM       Suite = 5 // AES_256_GCM_SHA512_128
	AES256CTRHMAC80 Suite = 6
	AES256CTRHMAC64 Suite = 7
	AES256CTRHMAC32 Suite = 8
)

const nonceSize = 12

// ErrCorrupt means that a ciphertext is not authentic, or no SFrame ciphertext.
var ErrCorrupt = errors.New("sframe: ciphertext is not authentic")

// ErrKey means that a ciphertext names another key than the one it is opened with.
var ErrKey = errors.New("sframe: another key id")

type params struct {
	enc, auth, tag int // bytes; auth 0 is GCM
	hash           func() hash.Hash
}

func (s Suite) params() (params, error) {
	switch s {
	case AES128CTRHMAC80:
		return params{16, 32, 10, sha256.New}, nil
	case AES128CTRHMAC64:
		return params{16, 32, 8, sha256.New}, nil
	case AES128CTRHMAC32:
		return params{16, 32, 4, sha256.New}, nil
	case AES128GCM:
		return params{16, 0, 16, sha256.New}, nil
	case AES256GCM:
		return params{32, 0, 16, sha512.New}, nil
	case AES256CTRHMAC80:
		return params{32, 64, 10, sha512.New}, nil
	case AES256CTRHMAC64:
		return params{32, 64, 8, sha512.New}, nil
	case AES256CTRHMAC32:
		return params{32, 64, 4, sha512.New}, nil
	default:
		return params{}, fmt.Errorf("sframe: unknown cipher suite %d", s)
	}
}

// Key seals and opens under one key id. It is safe for concurrent use.
type Key struct {
	kid  uint64
	salt [nonceSize]byte
	aead cipher.AEAD
}

// New derives the key and the salt from baseKey (RFC 9605, section 4.4.2). A base key
// belongs to one sender and one key id.
func New(suite Suite, kid uint64, baseKey []byte) (*Key, error) {
	p, err := suite.params()
	if err != nil {
		return nil, err
	}
	secret, err := hkdf.Extract(p.hash, baseKey, nil)
	if err != nil {
		return nil, fmt.Errorf("derive sframe secret: %w", err)
	}
	key, err := hkdf.Expand(p.hash, secret, label("SFrame 1.0 Secret key ", kid, suite), p.enc+p.auth)
	if err != nil {
		return nil, fmt.Errorf("derive sframe key: %w", err)
	}
	salt, err := hkdf.Expand(p.hash, secret, label("SFrame 1.0 Secret salt ", kid, suite), nonceSize)
	if err != nil {
		return nil, fmt.Errorf("derive sframe salt: %w", err)
	}
	aead, err := p.newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("make sframe cipher: %w", err)
	}
	k := &Key{kid: kid, aead: aead}
	copy(k.salt[:], salt)
	return k, nil
}

func (p params) newAEAD(key []byte) (cipher.AEAD, error) {
	if p.auth > 0 {
		return newCTRHMAC(key, p.enc, p.tag, p.hash)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func label(text string, kid uint64, suite Suite) string {
	b := binary.BigEndian.AppendUint64([]byte(text), kid)
	return string(binary.BigEndian.AppendUint16(b, uint16(suite)))
}

func (k *Key) nonce(ctr uint64) [nonceSize]byte {
	n := k.salt
	for i := range 8 {
		n[nonceSize-1-i] ^= byte(ctr >> (8 * i))
	}
	return n
}

// KID is the key id.
func (k *Key) KID() uint64 { return k.kid }

// Overhead is how much longer the ciphertext with counter ctr is than its plaintext.
func (k *Key) Overhead(ctr uint64) int { return HeaderLen(k.kid, ctr) + k.aead.Overhead() }

// Seal appends the SFrame ciphertext of plaintext to dst. The counter must never
// meet two different plaintexts under one key: that would break both.
func (k *Key) Seal(dst []byte, ctr uint64, metadata, plaintext []byte) []byte {
	at := len(dst)
	dst = AppendHeader(dst, k.kid, ctr)
	aad := append(append(make([]byte, 0, MaxHeader+len(metadata)), dst[at:]...), metadata...)
	nonce := k.nonce(ctr)
	return k.aead.Seal(dst, nonce[:], plaintext, aad)
}

// Open appends the plaintext of an SFrame ciphertext to dst, and tells its counter:
// the caller decides which counter it expects. Errors are ErrCorrupt and ErrKey.
func (k *Key) Open(dst, ciphertext, metadata []byte) (plaintext []byte, ctr uint64, err error) {
	kid, ctr, n, err := ParseHeader(ciphertext)
	if err != nil {
		return nil, 0, err
	}
	if kid != k.kid {
		return nil, 0, ErrKey
	}
	aad := append(append(make([]byte, 0, MaxHeader+len(metadata)), ciphertext[:n]...), metadata...)
	nonce := k.nonce(ctr)
	plaintext, err = k.aead.Open(dst, nonce[:], ciphertext[n:], aad)
	if err != nil {
		return nil, 0, ErrCorrupt
	}
	return plaintext, ctr, nil
}
