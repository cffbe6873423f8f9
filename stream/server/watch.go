package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segue-music/segue/stream/wire"
)

// watch serves the player state. It lasts as long as its tickets: the client sends a
// WATCH with the renewed ticket on the same stream.
func (c *Conn) watch(ctx context.Context, st Stream, r *wire.Reader, payload []byte) error {
	req, err := wire.ParseWatch(payload)
	if err != nil {
		return err
	}
	sess, err := c.verify(req.Ticket)
	if err != nil {
		return err
	}
	r.Bound(-1)
	if c.isEarly() {
		return wire.Errorf(wire.EarlyRefused, "send again after the handshake")
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	expiry := time.AfterFunc(sess.Expires().Sub(c.s.deps.Now()), func() {
		stop(wire.Errorf(wire.TicketExpired, "ticket ran out"))
	})
	defer expiry.Stop()
	go func() {
		select {
		case <-c.s.draining:
			stop(errDraining())
		case <-ctx.Done():
		}
	}()
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		if err := c.renewals(r, sess, expiry); err != nil {
			stop(err)
		}
	}()
	err = sess.Watch(ctx, req.Since, func(s wire.State) error {
		b := s.Append(nil)
		if len(b) > wire.MaxServer {
			return fmt.Errorf("player state of %d bytes", len(b))
		}
		return c.write(st, b)
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
		if errors.Is(err, context.Canceled) {
			err = wire.Errorf(wire.Cancelled, "stopped")
		}
	}
	st.CancelRead(wire.CodeOf(err))
	<-reading
	return err
}

// renewals reads further WATCH frames until the client finishes its side.
func (c *Conn) renewals(r *wire.Reader, sess Session, expiry *time.Timer) error {
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return readError(err)
		}
		if f.Type != wire.TypeWatch {
			return wire.Errorf(wire.BadFrame, "frame %#x after WATCH", uint64(f.Type))
		}
		req, err := wire.ParseWatch(f.Payload)
		if err != nil {
			return err
		}
		renewed, err := c.s.deps.Tickets.Verify(req.Ticket)
		if err != nil {
			return err
		}
		if renewed.ID() != sess.ID() {
			return wire.Errorf(wire.TicketInvalid, "ticket of another session")
		}
		expiry.Reset(renewed.Expires().Sub(c.s.deps.Now()))
	}
}
