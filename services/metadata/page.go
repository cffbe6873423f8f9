package metadata

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"unicode/utf8"

	"github.com/segue-music/segue/stream/id"
)

// A page token is base64url of 4 bytes of checksum, the 22 characters of an id, and the
// sort key. The checksum covers the name of the list, so that a token of one list is
// refused by another, and whoever alters one is told so. It is no secret and guards
// none: a token is only a place to go on from, and what is listed from there is decided
// by who asks.
const (
	tokenSum    = 4
	maxTokenKey = 320
)

func token(list string, c *Cursor) string {
	if c == nil {
		return ""
	}
	body := append([]byte(c.ID), c.Key...)
	return base64.RawURLEncoding.EncodeToString(append(checksum(list, body), body...))
}

func parseToken(list, s string) (*Cursor, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < tokenSum+id.Len || len(b) > tokenSum+id.Len+maxTokenKey {
		return nil, ErrPageToken
	}
	body := b[tokenSum:]
	if !bytes.Equal(b[:tokenSum], checksum(list, body)) || !utf8.Valid(body) {
		return nil, ErrPageToken
	}
	c := &Cursor{ID: string(body[:id.Len]), Key: string(body[id.Len:])}
	if _, err := id.Parse(c.ID); err != nil {
		return nil, ErrPageToken
	}
	return c, nil
}

func checksum(list string, body []byte) []byte {
	sum := sha256.Sum256(append([]byte("segue page of "+list+"\x00"), body...))
	return sum[:tokenSum]
}
