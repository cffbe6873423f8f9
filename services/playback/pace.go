package playback

import (
	"context"
	"sync"
	"time"
)

// pace brings together what several calls want to commit. An isolated call is
// committed at once; while they come faster than one in every, those that come within
// that time share one commit. Nothing is acknowledged before it is durable: a call waits
// for its commit. Players report in the background and wait for nothing, and a disk that
// syncs, a log that appends and an outbox that is emptied a few times a second cost a
// tenth of what they do a hundred times.
type pace struct {
	every  time.Duration
	commit func(ctx context.Context, edits []*edit) error

	mu      sync.Mutex
	waiting []*paced
	running bool
	last    time.Time // when the last commit began
}

// paced is one call.
type paced struct {
	edits []*edit
	done  chan error
}

// pacedMost bounds the edits of one commit.
const pacedMost = 1000

// do returns when the edits are committed, or ctx has ended: they may be committed all
// the same then, as with any call that is given up.
func (p *pace) do(ctx context.Context, edits []*edit) error {
	if len(edits) == 0 {
		return nil
	}
	if p.every <= 0 {
		return p.commit(ctx, edits)
	}
	w := &paced{edits: edits, done: make(chan error, 1)}
	p.mu.Lock()
	p.waiting = append(p.waiting, w)
	if !p.running {
		p.running = true
		go p.run(context.WithoutCancel(ctx), p.every-time.Since(p.last))
	}
	p.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run commits what waits until nothing does.
func (p *pace) run(ctx context.Context, first time.Duration) {
	for wait := first; ; wait = p.every {
		if wait > 0 {
			<-time.After(wait)
		}
		group := p.next()
		if len(group) == 0 {
			return
		}
		p.together(ctx, group)
	}
}

// next takes the calls that are committed together: those of a play that one of them has
// already stay for the next time, since edits of one play are one edit.
func (p *pace) next() (group []*paced) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		p.running = false
		return nil
	}
	p.last = time.Now()
	type key struct{ user, play string }
	plays := map[key]bool{}
	var left []*paced
	for _, w := range p.waiting {
		fits := len(plays) == 0 || len(plays)+len(w.edits) <= pacedMost
		for _, e := range w.edits {
			fits = fits && !plays[key{e.userID, e.playID}]
		}
		for _, e := range w.edits {
			plays[key{e.userID, e.playID}] = true // also of one that stays: what comes later must not overtake it
		}
		if fits {
			group = append(group, w)
		} else {
			left = append(left, w)
		}
	}
	p.waiting = left
	return group
}

// pacedLimit is how long a commit may take: as long as a call.
const pacedLimit = 30 * time.Second

func (p *pace) together(ctx context.Context, group []*paced) {
	ctx, cancel := context.WithTimeout(ctx, pacedLimit)
	defer cancel()
	var all []*edit
	for _, w := range group {
		all = append(all, w.edits...)
	}
	err := p.commit(ctx, all)
	if err != nil && len(group) > 1 {
		// One of them may be at fault: each for itself.
		for _, w := range group {
			w.done <- p.commit(ctx, w.edits)
		}
		return
	}
	for _, w := range group {
		w.done <- err
	}
}
