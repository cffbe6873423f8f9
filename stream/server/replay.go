package server

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/segue-music/segue/stream/wire"
)

// replaySet remembers the plays that came in early data until their tickets run out.
// Early data can be captured and sent again by anyone; a play in it is taken once.
type replaySet struct {
	mu    sync.Mutex
	limit int
	seen  map[[16]byte]time.Time
	swept time.Time
}

// take reports whether the play is new. What the set has no room for is not new.
func (r *replaySet) take(p *wire.Play, expires, now time.Time) bool {
	h := sha256.New()
	h.Write(p.PlayID[:])
	h.Write(p.Ticket)
	var key [16]byte
	copy(key[:], h.Sum(nil))

	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) > time.Minute || (len(r.seen) >= r.limit && now.Sub(r.swept) > time.Second) {
		r.swept = now
		for k, until := range r.seen {
			if until.Before(now) {
				delete(r.seen, k)
			}
		}
	}
	if _, ok := r.seen[key]; ok || len(r.seen) >= r.limit {
		return false
	}
	r.seen[key] = expires
	return true
}
