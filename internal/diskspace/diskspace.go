// Package diskspace tells in time that a disk is nearly full. What can wait, uploads and
// diagnostics, then leaves the rest of the space to what cannot: accounts, players, listens.
package diskspace

import (
	"fmt"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/fault"
)

// fresh is how long an answer of the disk is believed.
const fresh = 500 * time.Millisecond

// Reserve keeps some bytes of the disk of a folder free. Methods may be called
// concurrently. A nil Reserve keeps none.
type Reserve struct {
	dir  string
	keep uint64
	now  func() time.Time
	room func(dir string) (avail, size uint64, err error)

	mu   sync.Mutex
	at   time.Time
	left uint64
	err  error
}

// New keeps so many bytes free on the disk of dir.
func New(dir string, keep uint64, now func() time.Time) *Reserve {
	return &Reserve{dir: dir, keep: keep, now: now, room: Room}
}

// Check is fault.ErrDiskFull when what is left is the reserve. Where the disk does not tell
// how much it has, there is no reserve.
func (r *Reserve) Check() error {
	if r == nil || r.keep == 0 {
		return nil
	}
	left, err := r.Free()
	if err != nil || left >= r.keep {
		return nil //nolint:nilerr // writing will tell
	}
	return fault.ErrDiskFull.Because(fmt.Errorf("%d bytes are left, %d are kept free", left, r.keep))
}

// Free is how many bytes are left.
func (r *Reserve) Free() (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); r.at.IsZero() || now.Sub(r.at) >= fresh || now.Before(r.at) {
		r.at = now
		r.left, _, r.err = r.room(r.dir)
	}
	return r.left, r.err
}
