package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// Request asks for a track or a part of one.
type Request struct {
	Track [16]byte
	// PlayID stands for one start of one track: its seeks and its prefetch carry the
	// same. Zero: one is drawn.
	PlayID  [16]byte
	Quality wire.Quality
	// From is where to begin, Until where to end; 0 is the end of the track. Records are
	// whole, so that a little more comes on both sides.
	From, Until time.Duration
	// Prefetch says that nobody listens yet. HeadOnly brings only HEAD; NoIndex leaves
	// out the index.
	Prefetch, HeadOnly, NoIndex bool
	// Played is the position up to which sound has been heard, asked a few times a
	// second: the server sends up to 30 s ahead of it. Nil: what Next has returned counts as
	// played.
	Played func() time.Duration
}

// Play asks for a track and returns when the server has answered. ctx governs the whole
// stream; the caller closes it. Refusals are a [wire.Error].
func (s *Session) Play(ctx context.Context, req Request) (*Stream, error) {
	start := s.cfg.Now()
	if req.From < 0 || req.Until < 0 {
		return nil, errors.New("play: negative position")
	}
	if req.PlayID == [16]byte{} {
		if _, err := io.ReadFull(s.cfg.Random, req.PlayID[:]); err != nil {
			return nil, fmt.Errorf("draw play id: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	from := uint64(req.From.Milliseconds())
	until := uint64((req.Until + time.Millisecond - 1).Milliseconds())
	o, err := s.open(ctx, &req, from, until)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("play: %w", err)
	}
	st := newStream(s, cancel, req, o, start)
	if req.HeadOnly {
		o.answer.close()
		st.finish(nil)
		close(st.done)
		return st, nil
	}
	go st.receive(ctx, o, until)
	go st.feed(ctx)
	return st, nil
}

// opened is an answer with what is needed to use it.
type opened struct {
	answer *answer
	setup  []byte
	opener *seal.Opener
}

// open sends a PLAY and mends what can be mended: a ticket that ran out, a key that
// the client thought to have, a server that is stopping.
func (s *Session) open(ctx context.Context, req *Request, from, until uint64) (*opened, error) {
	key := playKey{req.Track, req.Quality}
	refused, moved := false, 0
	for {
		ticket, err := s.leaveToPlay(ctx, refused)
		if err != nil {
			return nil, err
		}
		keyKnown, setups := s.known(key)
		p := &wire.Play{
			Track: req.Track, PlayID: req.PlayID, Quality: req.Quality, Codecs: wire.Vorbis.Set(),
			FromMs: from, UntilMs: until, Have: setups, Ticket: ticket,
		}
		for _, f := range []struct {
			on   bool
			flag wire.Flags
		}{{req.Prefetch, wire.Prefetch}, {keyKnown, wire.KeyKnown}, {req.HeadOnly, wire.HeadOnly}, {req.NoIndex, wire.NoIndex}} {
			if f.on {
				p.Flags |= f.flag
			}
		}
		a, err := s.ask(ctx, p)
		switch code := wire.CodeOf(err); {
		case code == wire.TicketExpired && !refused && s.cfg.RenewTicket != nil:
			refused = true
			continue
		case code == wire.Draining && moved < len(s.cfg.Endpoints):
			moved++
			continue
		case err != nil:
			return nil, err
		}
		setup, base, err := s.remember(key, a.head)
		if errors.Is(err, errNoKey) && keyKnown {
			a.close()
			s.forget(key)
			continue
		}
		if err != nil {
			a.close()
			return nil, err
		}
		opener, err := seal.NewOpener(base, a.head.SealID, a.head.KID, uint32(a.head.RecordCount))
		if err != nil {
			a.close()
			return nil, err
		}
		return &opened{answer: a, setup: setup, opener: opener}, nil
	}
}
