package glance

import "sync"

// Turns lets in one caller of a name at a time. The zero value is ready.
type Turns struct {
	mu  sync.Mutex
	now map[string]*turn
}

type turn struct {
	sync.Mutex
	wanted int // by callers inside and waiting
}

// Enter waits for the caller's turn; what it returns ends it.
func (t *Turns) Enter(name string) (leave func()) {
	t.mu.Lock()
	if t.now == nil {
		t.now = map[string]*turn{}
	}
	at := t.now[name]
	if at == nil {
		at = &turn{}
		t.now[name] = at
	}
	at.wanted++
	t.mu.Unlock()
	at.Lock()
	return func() {
		at.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if at.wanted--; at.wanted == 0 {
			delete(t.now, name)
		}
	}
}
