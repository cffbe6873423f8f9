package seal

import (
	"errors"
	"fmt"

	"github.com/segue-music/segue/stream/sframe"
)

// ErrRecord means that a record is not authentic, or not the one that was expected.
var ErrRecord = errors.New("seal: record is not authentic")

// Opener decrypts the records of one object.
type Opener struct {
	key    *sframe.Key
	sealID [16]byte
	count  uint32
}

// NewOpener makes an Opener from the content key and what HEAD says.
func NewOpener(base, sealID [16]byte, kid uint64, records uint32) (*Opener, error) {
	key, err := sframe.New(sframe.AES128GCM, kid, base[:])
	if err != nil {
		return nil, err
	}
	return &Opener{key: key, sealID: sealID, count: records}, nil
}

// Open appends the pages of record number to dst. It fails with ErrRecord unless the
// ciphertext is that very record of this object.
func (o *Opener) Open(dst []byte, number uint32, ciphertext []byte) ([]byte, error) {
	if number >= o.count {
		return nil, fmt.Errorf("%w: record %d of %d", ErrRecord, number, o.count)
	}
	// The counter is checked first: it is in clear, and a wrong one need not be opened.
	if _, ctr, _, err := sframe.ParseHeader(ciphertext); err != nil || ctr != uint64(number) {
		return nil, fmt.Errorf("%w: not record %d", ErrRecord, number)
	}
	meta := metadata(o.sealID, o.count, number == o.count-1)
	plain, _, err := o.key.Open(dst, ciphertext, meta[:])
	if err != nil {
		return nil, fmt.Errorf("%w: record %d: %w", ErrRecord, number, err)
	}
	return plain, nil
}
