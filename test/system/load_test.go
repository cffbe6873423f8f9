//go:build system

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/wire"
)

// load is what people do while something happens to the server, counted by what it is.
type load struct {
	d    *deployment
	ctx  context.Context // ends the load
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	done   map[string]int
	failed map[string][]error
	// by is how often a play went over a transport.
	by map[string]int
}

func (d *deployment) load() *load {
	l := &load{d: d, done: map[string]int{}, failed: map[string][]error{}, by: map[string]int{}}
	l.ctx, l.stop = context.WithCancel(d.Context())
	d.Cleanup(l.end)
	return l
}

// every repeats something, with a pause after each.
func (l *load) every(what string, pause time.Duration, do func(ctx context.Context) error) {
	l.wg.Go(func() {
		for l.ctx.Err() == nil {
			err := do(l.ctx)
			if l.ctx.Err() != nil {
				return
			}
			l.mu.Lock()
			if l.done[what]++; err != nil {
				l.failed[what] = append(l.failed[what], err)
			}
			l.mu.Unlock()
			select {
			case <-time.After(pause):
			case <-l.ctx.Done():
			}
		}
	})
}

func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

func (l *load) transport(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[name]++
}

// progress is how often each thing was done.
func (l *load) progress() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.done)
}

// report fails for every failure.
func (l *load) report() {
	l.d.Helper()
	for what, errs := range l.failed {
		l.d.Errorf("%s: %d of %d failed, the first with: %v", what, len(errs), l.done[what], errs[0])
	}
	for what, n := range l.done {
		if n == 0 {
			l.d.Errorf("%s was never done", what)
		}
	}
}

// listens plays a track again and again in real time, for ctx, and fails for sound that
// came too late.
func (l *listening) listens(ctx context.Context, track [16]byte, heard *time.Duration) error {
	var begun time.Time
	played := func() time.Duration {
		if begun.IsZero() {
			return 0
		}
		return time.Since(begun)
	}
	st, err := l.Play(ctx, client.Request{Track: track, Quality: wire.Kbps24, Played: played})
	if err != nil {
		return err
	}
	defer st.Close()
	begun = time.Now()
	for have := time.Duration(0); ; {
		rec, err := st.Next()
		if late := time.Since(begun) - have; have > 0 && late > 0 && err == nil {
			return fmt.Errorf("underrun of %s after %s", late, have)
		}
		if errors.Is(err, io.EOF) {
			*heard += have
			return nil
		}
		if err != nil {
			return err
		}
		have = time.Duration(rec.End) * time.Second / time.Duration(st.Head().Rate)
		// Be as far behind as a listener with two seconds in the buffer.
		select {
		case <-time.After(have - 2*time.Second - time.Since(begun)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// plays refreshes, opens a session, and plays the beginning of a track on it.
func (l *load) plays(p *person, track [16]byte, blocked bool) func(context.Context) error {
	resume := client.NewResumption()
	return func(ctx context.Context) error {
		if err := p.renew(); err != nil {
			return err
		}
		s, err := p.tryOpen(blocked, resume)
		if err != nil {
			return fmt.Errorf("open session: %w", err)
		}
		defer s.Close()
		st, err := s.Play(ctx, client.Request{Track: track, Quality: wire.Kbps24, Until: time.Second})
		if err != nil {
			return err
		}
		defer st.Close()
		for {
			_, err := st.Next()
			if errors.Is(err, io.EOF) {
				l.transport(st.Stats().Transport)
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

// usual starts the things that must go on while keys rotate, processes end or clocks jump, by
// people whose names begin with one of their own.
func (l *load) usual(admin *person, track, names string) {
	d := l.d
	id := trackID(d, track)
	for i := range 2 {
		p := d.listener(admin, fmt.Sprintf("%s-renews%d", names, i))
		l.every("refresh and call", 150*time.Millisecond, func(ctx context.Context) error {
			if err := p.renew(); err != nil {
				return err
			}
			_, err := p.Accounts.GetMe(ctx, &userv1.GetMeRequest{})
			return err
		})
	}
	newcomer := d.listener(admin, names+"-newcomer")
	l.every("sign in", time.Second, func(context.Context) error {
		return (&person{d: d, Name: newcomer.Name, Device: newID()}).signIn(personPass)
	})
	plays := d.listener(admin, names+"-plays")
	l.every("session and play", 200*time.Millisecond, l.plays(plays, id, false))
	l.every("session and play by the fallback", 300*time.Millisecond, l.plays(d.signIn(plays.Name, personPass), id, true))
	// A session that was there before plays on, its ticket renewed, its stream never cut.
	steady := d.listener(admin, names+"-steady").open(false)
	heard := time.Duration(0)
	l.every("listen on one session", 0, func(ctx context.Context) error { return steady.listens(ctx, id, &heard) })
	admins := d.signIn("admin", adminPassword)
	l.every("look at the keys", 500*time.Millisecond, func(ctx context.Context) error {
		if err := admins.renew(); err != nil {
			return err
		}
		_, err := userv1connectKeys(admins).ListKeys(ctx, &userv1.ListKeysRequest{})
		return err
	})
}
