package upload

import "sync"

// hub tells the streams of this process what has changed, and knows the progress inside
// a step, which is not stored.
type hub struct {
	mu   sync.Mutex
	subs map[*subscriber]bool
	live map[string]uint32 // progress in thousandths by upload
}

// subscriber is one stream: the uploads of one owner, or all of them.
type subscriber struct {
	owner string // empty is all
	named map[string]bool
	dirty map[string]bool
	lost  bool // too much changed to be listed
	wake  chan struct{}
}

// maxDirty bounds what is remembered for a stream that does not keep up.
const maxDirty = 4096

func newHub() *hub { return &hub{subs: map[*subscriber]bool{}, live: map[string]uint32{}} }

func (h *hub) subscribe(owner string, named []string) (*subscriber, func()) {
	sub := &subscriber{owner: owner, named: map[string]bool{}, dirty: map[string]bool{}, wake: make(chan struct{}, 1)}
	for _, id := range named {
		sub.named[id] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs[sub] = true
	return sub, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subs, sub)
	}
}

func (h *hub) changed(u Upload) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u.State == Complete || u.State == Failed || u.State == Duplicate {
		delete(h.live, u.ID)
	}
	h.mark(u.ID, u.OwnerID)
}

// progress sets how far the step in work is; 0 forgets it.
func (h *hub) progress(id string, milli uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if milli == 0 {
		delete(h.live, id)
		return
	}
	if h.live[id] != milli {
		h.live[id] = milli
		h.mark(id, "")
	}
}

// mark is called with the lock held. Without an owner only those hear it who named id.
func (h *hub) mark(id, owner string) {
	for sub := range h.subs {
		if !sub.named[id] && (len(sub.named) > 0 || owner == "" || sub.owner != "" && sub.owner != owner) {
			continue
		}
		if len(sub.dirty) < maxDirty {
			sub.dirty[id] = true
		} else {
			sub.lost = true
		}
		select {
		case sub.wake <- struct{}{}:
		default: // awake already
		}
	}
}

// take returns and forgets what changed; lost says that it is not all.
func (h *hub) take(sub *subscriber) (ids []string, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range sub.dirty {
		ids = append(ids, id)
	}
	clear(sub.dirty)
	lost, sub.lost = sub.lost, false
	return ids, lost
}

// liveProgress is the stored progress or what is known since.
func (h *hub) liveProgress(u Upload) uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(u.Progress, h.live[u.ID])
}
