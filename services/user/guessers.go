package user

import (
	"sync"
	"time"
)

const (
	// guessedLately is how long an address that guessed wrong waits behind the others.
	guessedLately = 2 * time.Minute
	// mostGuessers bounds the memory; past it, any tenth is forgotten.
	mostGuessers = 50_000
)

// guessers are the addresses from which a wrong password came lately.
type guessers struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func newGuessers() *guessers { return &guessers{last: map[string]time.Time{}} }

func (g *guessers) wrong(now time.Time, address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, had := g.last[address]; !had && len(g.last) >= mostGuessers {
		for a, at := range g.last {
			if !lately(at, now) {
				delete(g.last, a)
			}
		}
		for a := range g.last {
			if len(g.last) <= mostGuessers*9/10 {
				break
			}
			delete(g.last, a)
		}
	}
	g.last[address] = now
}

func (g *guessers) is(now time.Time, address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.last[address]
	return ok && lately(at, now)
}

// lately is false for a time that has not come: the clock was set back.
func lately(at, now time.Time) bool {
	age := now.Sub(at)
	return age >= 0 && age < guessedLately
}
