package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"sync"
	"time"

	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	"github.com/segue-music/segue/gen/segue/collect/v1/collectv1connect"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
	"github.com/segue-music/segue/test/person"
)

// listener is one device of one account: a connection of HTTPS of its own, a session of its
// own, a connection of the protocol of its own.
type listener struct {
	crowd *crowd
	n     int
	rand  *mrand.Rand

	web      *http.Transport
	sessions playbackv1connect.SessionServiceClient
	collect  collectv1connect.CollectServiceClient
	device   string
	session  *person.Session
	link     link

	ticket  []byte
	renewAt time.Time
	setups  [][8]byte

	mu      sync.Mutex
	current *play
	events  chan *collectv1.ClientEvent
	sent    int
}

// Reasons for which a play is broken off.
var (
	errSeek = errors.New("listener seeks")
	errSkip = errors.New("listener skips")
)

// join opens session and connection.
func (c *crowd) join(ctx context.Context, n int) (*listener, error) {
	config := c.trust.Clone()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	l := &listener{
		crowd: c, n: n, rand: mrand.New(mrand.NewPCG(uint64(n), 0x10ad)), //nolint:gosec // draws of a test
		device: id.New(time.Now(), rand.Reader).String(), events: make(chan *collectv1.ClientEvent, 64),
		web: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, WriteBufferSize: 4 << 10, ReadBufferSize: 4 << 10},
	}
	account := c.accounts[n%len(c.accounts)]
	client := account.Client(l.web)
	client.Timeout = 30 * time.Second
	l.sessions = playbackv1connect.NewSessionServiceClient(client, c.spec.Segue)
	l.collect = collectv1connect.NewCollectServiceClient(client, c.spec.Segue)
	var err error
	if l.session, err = account.OpenSession(ctx, client, fmt.Sprintf("load %d", n), "load"); err != nil {
		return nil, err
	}
	l.keep(l.session.Answer.GetTicket(), l.session.Answer.GetTicketExpiresUnixMs())
	l.link, err = c.dial(ctx, n, l.session.Answer.GetEndpoints())
	return l, err
}

func (l *listener) redial(ctx context.Context) {
	fresh, err := l.crowd.dial(ctx, l.n, l.session.Answer.GetEndpoints())
	if err != nil {
		l.crowd.failed(err)
		return
	}
	l.link.close()
	l.link = fresh
}

func (l *listener) keep(ticket []byte, expires int64) {
	l.ticket = ticket
	l.renewAt = time.Now().Add(time.Until(time.UnixMilli(expires)) / 2)
}

// leave is the ticket, renewed at half its life.
func (l *listener) leave(ctx context.Context) ([]byte, error) {
	if time.Now().After(l.renewAt) {
		res, err := l.sessions.RenewTicket(ctx, &playbackv1.RenewTicketRequest{SessionId: l.session.Answer.GetSessionId()})
		if err != nil {
			return nil, fmt.Errorf("renew ticket: %w", err)
		}
		l.crowd.renewed.Add(1)
		l.keep(res.GetTicket(), res.GetTicketExpiresUnixMs())
	}
	return l.ticket, nil
}

// know notes a setup, as a player does that has decoded with it.
func (l *listener) know(setup [8]byte) {
	for _, s := range l.setups {
		if s == setup {
			return
		}
	}
	if len(l.setups) == wire.MaxSetups {
		l.setups = l.setups[1:]
	}
	l.setups = append(l.setups[:len(l.setups):len(l.setups)], setup)
}

func (l *listener) underrun() { l.crowd.underruns.Add(1) }

// draw chooses the next track.
func (l *listener) draw() *play {
	p := &play{l: l, track: l.crowd.tracks[l.rand.IntN(len(l.crowd.tracks))]}
	for i := range p.id {
		p.id[i] = byte(l.rand.Uint32())
	}
	now := id.New(time.Now(), rand.Reader)
	p.id = now
	return p
}

// run listens until ctx ends.
func (l *listener) run(ctx context.Context) {
	go l.report(ctx)
	var next *play
	reason := "click"
	for ctx.Err() == nil {
		p := next
		if p == nil {
			p = l.draw()
		}
		next, reason = l.hear(ctx, p, reason)
	}
}

// hear plays one track: to its end, or until the listener has had enough of it. It
// returns the one that was prefetched meanwhile, if any.
func (l *listener) hear(ctx context.Context, p *play, reason string) (next *play, why string) {
	l.mu.Lock()
	l.current = p
	l.mu.Unlock()
	var act error
	switch d := l.rand.Float64(); {
	case d < l.crowd.spec.Seek:
		act = errSeek
	case d < l.crowd.spec.Seek+l.crowd.spec.Skip:
		act = errSkip
	}
	ctx, done := context.WithCancelCause(ctx)
	defer done(nil)
	playing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if act != nil {
		after := time.Duration(5+l.rand.IntN(120)) * time.Second
		t := time.AfterFunc(after, func() { stop(act) })
		defer t.Stop()
	}
	quiet := func() {}
	defer func() { quiet() }()
	var once sync.Once
	from := uint64(0)
	for failures := 0; ; {
		start := func() {
			once.Do(func() {
				l.started(p, reason)
				quiet = l.progress(p)
			})
		}
		err := l.through(playing, p, from, &next, start)
		switch cause := context.Cause(playing); {
		case err == nil:
			l.ended(p, "track_end")
			return next, "autoplay"
		case ctx.Err() != nil:
			return nil, ""
		case errors.Is(cause, errSkip):
			l.skipped(p)
			return next, "click"
		case errors.Is(cause, errSeek):
			playing = ctx // it is the only time
			from = l.seek(p)
			continue
		}
		l.crowd.failed(err)
		if failures++; failures > 5 {
			return nil, "click"
		}
		pause(ctx, 300*time.Millisecond)
		if code := wire.CodeOf(err); code == wire.Internal || code == wire.Draining { // the connection may be gone
			l.redial(ctx)
		}
		p.mu.Lock()
		if p.head != nil {
			from = p.millis(p.end) + 50
		}
		p.mu.Unlock()
	}
}

// through fetches what is left of a track, the head of the next one when this one
// is nearly over, and returns when it has sounded to its end.
func (l *listener) through(ctx context.Context, p *play, from uint64, next **play, start func()) error {
	p.mu.Lock()
	if !p.zero.IsZero() && from == 0 { // prefetched: its first seconds are here, and it sounds already
		from = p.millis(p.end) + 50
	}
	p.mu.Unlock()
	if err := p.fetch(ctx, from, 0, false, start); err != nil {
		return err
	}
	p.mu.Lock()
	over := p.zero.Add(p.length())
	p.mu.Unlock()
	if !sleep(ctx, time.Until(over)-prefetchAt) {
		return context.Cause(ctx)
	}
	if *next == nil {
		n := l.draw()
		if err := n.fetch(ctx, 0, prefetched, true, nil); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			l.crowd.failed(fmt.Errorf("prefetch: %w", err))
		} else {
			*next = n
		}
	}
	if !sleep(ctx, time.Until(over)) {
		return context.Cause(ctx)
	}
	if n := *next; n != nil { // it follows without a gap
		n.mu.Lock()
		n.zero, n.begun = over, over
		n.mu.Unlock()
	}
	return nil
}

// seek draws a place that is not the present one, and stops the clock until it sounds.
func (l *listener) seek(p *play) (fromMs uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	to := uint64(0)
	if p.head != nil {
		to = uint64(l.rand.Int64N(p.length().Milliseconds() * 8 / 10))
	}
	at := p.position(now)
	if !p.begun.IsZero() {
		p.heard += now.Sub(p.begun)
	}
	p.seeking, p.zero, p.begun = true, now, time.Time{}
	l.crowd.seeks.Add(1)
	l.seeked(p, uint64(at.Milliseconds()), to)
	return to
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func pause(ctx context.Context, d time.Duration) { _ = sleep(ctx, d) }
