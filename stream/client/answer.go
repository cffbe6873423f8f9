package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/segue-music/segue/stream/wire"
)

// answer is a stream whose HEAD has arrived.
type answer struct {
	frames    *wire.Reader
	head      *wire.Head
	transport string
	// credit lets the server send up to a position; nil in the fallback.
	credit func(untilMs uint64) error
	// close breaks it off. It may be called more than once, and by anyone.
	close func()
	// lost gives up the connection it came on.
	lost func()
}

// Transports as Stats names them.
const (
	TransportQUIC     = "quic"
	TransportQUIC0RTT = "quic-0rtt"
	TransportFallback = "https"
)

// patience is how long a connection that is known to be alive may leave a PLAY
// unanswered before the fallback is tried beside it.
const patience = time.Second

// ask sends a PLAY by the best way there is. Refusals come back as a [wire.Error].
func (s *Session) ask(ctx context.Context, p *wire.Play) (*answer, error) {
	e := s.current()
	switch {
	case !s.quicUsable():
		return s.askHTTP(ctx, e, p)
	case e.Fallback == "" || s.cfg.FallbackAfter < 0:
		return s.askQUIC(ctx, p)
	}
	return s.race(ctx, e, p)
}

// race asks by QUIC, and by the fallback too when QUIC does not answer. The first answer
// wins; a refusal by the server is an answer.
func (s *Session) race(ctx context.Context, e Endpoint, p *wire.Play) (*answer, error) {
	type result struct {
		a    *answer
		err  error
		quic bool
	}
	var winner atomic.Bool
	results := make(chan result, 2)
	cancels := [2]context.CancelFunc{}
	run := func(i int, by func(context.Context) (*answer, error)) {
		// The answer lives longer than the race; only the loser is cancelled.
		rctx, cancel := context.WithCancel(ctx)
		cancels[i] = cancel
		go func() {
			a, err := by(rctx)
			var refusal *wire.Error
			if (err == nil || errors.As(err, &refusal)) && !winner.CompareAndSwap(false, true) && a != nil {
				a.close()
				a, err = nil, context.Canceled
			}
			if a != nil {
				end := a.close
				a.close = func() { end(); cancel() }
			}
			results <- result{a, err, i == 0}
		}()
	}
	run(0, func(ctx context.Context) (*answer, error) { return s.askQUIC(ctx, p) })
	timer := time.NewTimer(s.cfg.FallbackAfter)
	defer timer.Stop()
	running, started, waited := 1, false, false
	fallback := func() {
		if !started {
			started = true
			running++
			run(1, func(ctx context.Context) (*answer, error) { return s.askHTTP(ctx, e, p) })
		}
	}
	var failure error
	for {
		select {
		case r := <-results:
			running--
			var refusal *wire.Error
			if r.err == nil || errors.As(r.err, &refusal) {
				if r.quic && cancels[1] != nil {
					cancels[1]()
				} else if !r.quic {
					cancels[0]()
					if waited {
						s.abandon() // the connection only seems alive
					}
				}
				return r.a, r.err
			}
			failure = errors.Join(failure, r.err)
			if r.quic {
				fallback()
			}
			if running == 0 {
				cancels[0]()
				cancels[1]()
				return nil, failure
			}
		case <-timer.C:
			// Of a connection that is alive, a slow answer is more likely than none.
			if !waited && s.connected() {
				waited = true
				timer.Reset(patience)
				continue
			}
			fallback()
		}
	}
}

// askQUIC sends the PLAY on a new stream, again when early data was refused.
func (s *Session) askQUIC(ctx context.Context, p *wire.Play) (*answer, error) {
	conn, err := s.connection(ctx)
	if err != nil {
		return nil, err
	}
	const attempts = 3
	for range attempts {
		a, again := s.askConn(ctx, conn, p)
		var early *wire.Error
		switch {
		case errors.Is(again, quic.Err0RTTRejected):
			// All streams of the early connection are gone.
			if conn, err = conn.NextConnection(ctx); err != nil {
				return nil, codeOf(err)
			}
		case errors.As(again, &early) && early.Code == wire.EarlyRefused:
			select {
			case <-conn.HandshakeComplete():
			case <-conn.Context().Done():
				return nil, codeOf(context.Cause(conn.Context()))
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		default:
			return a, again
		}
	}
	return nil, wire.Errorf(wire.EarlyRefused, "refused %d times", attempts)
}

func (s *Session) askConn(ctx context.Context, conn *quic.Conn, p *wire.Play) (*answer, error) {
	early := true
	select {
	case <-conn.HandshakeComplete():
		early = false
	default:
	}
	st, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, s.broken(conn, err)
	}
	cancel := func() {
		st.CancelRead(quic.StreamErrorCode(wire.Cancelled))
		st.CancelWrite(quic.StreamErrorCode(wire.Cancelled))
	}
	unhook := context.AfterFunc(ctx, cancel)
	drop := func() { unhook(); cancel() }
	if _, err := st.Write(p.Append(nil)); err != nil {
		drop()
		return nil, s.broken(conn, err)
	}
	frames := wire.NewReader(st, wire.MaxServer)
	head, err := readHead(frames)
	if err != nil {
		drop()
		return nil, s.broken(conn, err)
	}
	a := &answer{
		frames: frames, head: head, transport: TransportQUIC, close: drop,
		lost: func() { s.leave(conn) },
		credit: func(untilMs uint64) error {
			_, err := st.Write(wire.Credit{UntilMs: untilMs}.Append(nil))
			return err
		},
	}
	if early {
		// The answer came: what the connection says now is settled.
		select {
		case <-conn.HandshakeComplete():
			if conn.ConnectionState().Used0RTT {
				a.transport = TransportQUIC0RTT
			}
		default:
			a.transport = TransportQUIC0RTT
		}
	}
	return a, nil
}

// broken gives up a connection that has ended.
func (s *Session) broken(conn *quic.Conn, err error) error {
	if errors.Is(err, quic.Err0RTTRejected) {
		return err
	}
	err = codeOf(err)
	if conn.Context().Err() != nil || wire.CodeOf(err) == wire.Draining {
		s.leave(conn)
	}
	return err
}

// readHead reads the first frame of an answer.
func readHead(r *wire.Reader) (*wire.Head, error) {
	f, err := r.Next()
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	switch f.Type {
	case wire.TypeHead:
		return wire.ParseHead(f.Payload)
	case wire.TypeErr:
		refusal, err := wire.ParseErr(f.Payload)
		if err != nil {
			return nil, err
		}
		return nil, refusal
	default:
		return nil, wire.Errorf(wire.BadFrame, "answer begins with frame %#x", uint64(f.Type))
	}
}
