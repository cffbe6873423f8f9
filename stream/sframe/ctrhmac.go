package sframe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"hash"
)

// ctrHMAC is AES in counter mode with a truncated HMAC (RFC 9605, section 4.5.1).
type ctrHMAC struct {
	block   cipher.Block
	authKey []byte
	hash    func() hash.Hash
	tag     int
}

func newCTRHMAC(key []byte, encLen, tag int, h func() hash.Hash) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:encLen])
	if err != nil {
		return nil, err
	}
	return &ctrHMAC{block: block, authKey: key[encLen:], hash: h, tag: tag}, nil
}

func (c *ctrHMAC) NonceSize() int { return nonceSize }
func (c *ctrHMAC) Overhead() int  { return c.tag }

func (c *ctrHMAC) Seal(dst, nonce, plaintext, aad []byte) []byte {
	dst, out := grow(dst, len(plaintext)+c.tag)
	c.crypt(out[:len(plaintext)], plaintext, nonce)
	copy(out[len(plaintext):], c.mac(nonce, aad, out[:len(plaintext)]))
	return dst
}

func (c *ctrHMAC) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(ciphertext) < c.tag {
		return nil, ErrCorrupt
	}
	body, tag := ciphertext[:len(ciphertext)-c.tag], ciphertext[len(ciphertext)-c.tag:]
	if !hmac.Equal(tag, c.mac(nonce, aad, body)) {
		return nil, ErrCorrupt
	}
	dst, out := grow(dst, len(body))
	c.crypt(out, body, nonce)
	return dst, nil
}

func (c *ctrHMAC) crypt(dst, src, nonce []byte) {
	var iv [aes.BlockSize]byte
	copy(iv[:], nonce)
	cipher.NewCTR(c.block, iv[:]).XORKeyStream(dst, src)
}

func (c *ctrHMAC) mac(nonce, aad, ct []byte) []byte {
	var lengths [24]byte
	binary.BigEndian.PutUint64(lengths[0:], uint64(len(aad)))
	binary.BigEndian.PutUint64(lengths[8:], uint64(len(ct)))
	binary.BigEndian.PutUint64(lengths[16:], uint64(c.tag))
	h := hmac.New(c.hash, c.authKey)
	for _, p := range [...][]byte{lengths[:], nonce, aad, ct} {
		h.Write(p)
	}
	return h.Sum(nil)[:c.tag]
}

func grow(b []byte, n int) (whole, tail []byte) {
	at := len(b)
	if cap(b)-at < n {
		b = append(make([]byte, 0, at+n), b...)
	}
	b = b[:at+n]
	return b, b[at:]
}
