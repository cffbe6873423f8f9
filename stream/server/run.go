package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/segue-music/segue/stream/wire"
)

// credits is what the client says while it is being served.
type credits struct {
	changed chan struct{} // one token: something below is new

	mu      sync.Mutex
	untilMs uint64
	fresh   bool // it rose since the last take
	done    bool // no more will come
	err     error
}

func newCredits() *credits { return &credits{changed: make(chan struct{}, 1)} }

// read reads CREDIT frames until the client has finished or broken its side.
func (c *credits) read(r *wire.Reader) {
	for {
		f, err := r.Next()
		var frame wire.Credit
		if err == nil {
			if f.Type != wire.TypeCredit {
				err = wire.Errorf(wire.BadFrame, "frame %#x after PLAY", uint64(f.Type))
			} else {
				frame, err = wire.ParseCredit(f.Payload)
			}
		}
		c.mu.Lock()
		switch {
		case err == nil:
			// One that does not rise gives nothing: by repeating itself a client would get
			// maxCreditMs more each time.
			if frame.UntilMs > c.untilMs {
				c.untilMs, c.fresh = frame.UntilMs, true
			}
		case errors.Is(err, io.EOF):
			c.done = true
		default:
			c.err, c.done = readError(err), true
		}
		done := c.done
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
		if done {
			return
		}
	}
}

func (c *credits) take() (untilMs uint64, fresh, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh, c.fresh = c.fresh, false
	return c.untilMs, fresh, c.done, c.err
}

// run sends what credit allows until the end.
func (p *play) run(ctx context.Context) error {
	l := &p.c.s.limits
	fence := time.NewTicker(l.FenceEvery)
	defer fence.Stop()
	idle := time.NewTimer(l.Idle)
	defer idle.Stop()
	for {
		done, asked, err := p.takeCredit(ctx)
		if err != nil {
			return err
		}
		if asked {
			fence.Reset(l.FenceEvery) // it is known for so long again
		}
		sent, err := p.burst(ctx)
		if err != nil {
			return err
		}
		if p.next > p.last {
			reason := wire.TrackEnd
			if p.until {
				reason = wire.UntilReached
			}
			return p.end(ctx, reason)
		}
		if sent {
			idle.Reset(l.Idle)
			p.account()
			continue // credit may have come meanwhile
		}
		if done {
			return p.end(ctx, wire.UntilReached)
		}
		select {
		case <-p.fromClient.changed:
		case <-fence.C:
			if err := p.fence(ctx); err != nil {
				return err
			}
		case <-idle.C:
			return p.end(ctx, wire.UntilReached)
		case <-p.c.s.draining:
			return errDraining()
		case <-ctx.Done():
			return wire.Errorf(wire.Cancelled, "stopped")
		}
	}
}

// takeCredit raises the credit by what the client sent, after asking whether the
// session may go on; asked says that it did.
func (p *play) takeCredit(ctx context.Context) (done, asked bool, err error) {
	ms, fresh, done, err := p.fromClient.take()
	if err != nil || !fresh {
		return done, false, err
	}
	if err := p.fence(ctx); err != nil {
		return done, true, err
	}
	sent := p.info.Records[max(p.next-1, 0)]
	most := satAdd(sent.First+uint64(sent.Samples), p.samples(maxCreditMs))
	p.credit = max(p.credit, min(p.samples(ms), most))
	return done, true, nil
}

// fence fails when the session must not go on. When nobody can tell, it goes on: an
// outage of playback must not silence those who listen.
func (p *play) fence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.c.s.limits.FenceTimeout)
	defer cancel()
	err := p.sess.Fence(ctx)
	var e *wire.Error
	if errors.As(err, &e) && (e.Code == wire.PlayingElsewhere || e.Code == wire.TicketInvalid) {
		return err
	}
	if err != nil {
		p.c.s.deps.Log.WarnContext(ctx, "fence is not known", "err", err)
	}
	return nil
}

// burst sends one batch of at least 32 KB, less where credit or the track ends, and
// the index once 2 s of audio are out. It reports whether there was anything to send.
func (p *play) burst(ctx context.Context) (bool, error) {
	if p.c.s.drained() {
		return false, errDraining()
	}
	first, size, end := p.next, 0, p.next
	for end <= p.last && size < batchBytes && p.info.Records[end].First < p.credit {
		size += int(p.info.Records[end].Length)
		end++
	}
	if end > first {
		if err := p.add(first, end); err != nil {
			return false, err
		}
	}
	if !p.indexed && p.req.Flags&wire.NoIndex == 0 && p.millis(p.audio) >= indexAfterMs {
		p.indexed = true
		if x := p.info.Index(); x.Size() <= wire.MaxServer {
			p.hold()
			p.buf.out = x.Append(p.buf.out)
		}
	}
	if p.buf == nil {
		return false, nil
	}
	return true, p.flush(ctx)
}

func (p *play) end(ctx context.Context, reason wire.Reason) error {
	p.hold()
	p.buf.out = wire.End{Reason: reason, LastRecord: uint64(p.next - 1)}.Append(p.buf.out)
	return p.flush(ctx)
}
