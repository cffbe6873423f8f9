package client

import (
	"context"
	"fmt"
	"time"

	"github.com/segue-music/segue/stream/wire"
)

// halfLife is how long before its end a ticket is renewed: half of its ten minutes.
const halfLife = 5 * time.Minute

// renewal is one call of RenewTicket that several plays may wait for.
type renewal struct {
	done chan struct{}
	err  error
}

// leaveToPlay returns a ticket that is good now. One that is over its half is renewed
// meanwhile; one that has run out, or was refused, is renewed first.
func (s *Session) leaveToPlay(ctx context.Context, refused bool) ([]byte, error) {
	s.mu.Lock()
	now := s.cfg.Now()
	over := refused || (!s.expires.IsZero() && !now.Before(s.expires))
	due := over || (!s.expires.IsZero() && s.expires.Sub(now) < halfLife)
	ticket := s.ticket
	if !due || s.cfg.RenewTicket == nil {
		s.mu.Unlock()
		if over {
			return nil, wire.Errorf(wire.TicketExpired, "no way to renew the ticket")
		}
		return ticket, nil
	}
	r := s.renewing
	if r == nil {
		r = &renewal{done: make(chan struct{})}
		s.renewing = r
		go s.renew(context.WithoutCancel(ctx), r)
	}
	s.mu.Unlock()
	if !over {
		return ticket, nil
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if r.err != nil {
		return nil, r.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ticket, nil
}

func (s *Session) renew(ctx context.Context, r *renewal) {
	defer close(r.done)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ticket, expires, err := s.cfg.RenewTicket(ctx)
	if err == nil && (len(ticket) == 0 || len(ticket) > wire.MaxTicket) {
		err = fmt.Errorf("ticket of %d bytes", len(ticket))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewing = nil
	if err != nil {
		r.err = fmt.Errorf("renew ticket: %w", err)
		return
	}
	s.ticket, s.expires = ticket, expires
}
