package password

import (
	"container/list"
	"context"
	"sync"
)

// turn is who goes first.
type turn uint8

const (
	first turn = iota
	last
	turns
)

// gate lets a number of callers in at a time; the others wait by their turn, and within
// it in the order in which they came.
type gate struct {
	slots int
	room  [turns]int // who may wait

	mu      sync.Mutex
	inside  int
	waiting [turns]*list.List // of chan struct{}, closed when a slot is handed over
}

func newGate(slots, queue int) *gate {
	return &gate{slots: slots, room: [turns]int{queue, queue / 2}, waiting: [turns]*list.List{list.New(), list.New()}}
}

// enter takes a slot, waiting where there is room: ErrBusy where there is none.
func (g *gate) enter(ctx context.Context, t turn) error {
	g.mu.Lock()
	if g.inside < g.slots {
		g.inside++
		g.mu.Unlock()
		return nil
	}
	if g.waiting[t].Len() >= g.room[t] {
		g.mu.Unlock()
		return ErrBusy
	}
	mine := make(chan struct{})
	at := g.waiting[t].PushBack(mine)
	g.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-mine: // it came at the same moment, and is the next one's
		g.hand()
	default:
		g.waiting[t].Remove(at)
	}
	return ctx.Err()
}

// load is who is inside, of how many, who waits, and how many may.
func (g *gate) load() (inside, slots, waiting, room int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for t := range turns {
		waiting += g.waiting[t].Len()
		room += g.room[t]
	}
	return g.inside, g.slots, waiting, room
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hand()
}

// hand gives a slot to whose turn it is, or takes it back.
func (g *gate) hand() {
	for _, waiting := range g.waiting {
		if e := waiting.Front(); e != nil {
			close(waiting.Remove(e).(chan struct{})) //nolint:forcetypeassert // its only type
			return
		}
	}
	g.inside--
}
