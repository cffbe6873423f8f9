package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/stream/id"
)

// progressEvery is how often a player tells how far it is.
const progressEvery = 30 * time.Second

// say queues an event; the queue is longer than what a minute brings.
func (l *listener) say(e *collectv1.ClientEvent) {
	l.mu.Lock()
	l.sent++
	e.Id = fmt.Sprintf("e%d", l.sent)
	l.mu.Unlock()
	e.ClientUnixMs = time.Now().UnixMilli()
	select {
	case l.events <- e:
	default:
		l.crowd.failed(fmt.Errorf("events: the queue is full"))
	}
}

// report sends the events as they come, those that wait together.
func (l *listener) report(ctx context.Context) {
	for {
		var batch []*collectv1.ClientEvent
		select {
		case e := <-l.events:
			batch = append(batch, e)
		case <-ctx.Done():
			return
		}
		for more := true; more && len(batch) < 200; {
			select {
			case e := <-l.events:
				batch = append(batch, e)
			default:
				more = false
			}
		}
		for try := 0; ; try++ {
			res, err := l.collect.SendEvents(ctx, &collectv1.SendEventsRequest{DeviceId: l.device, SessionId: l.session.Answer.GetSessionId(), Events: batch})
			if err == nil {
				l.crowd.events.Add(uint64(len(batch)))
				for _, r := range res.GetRefused() {
					l.crowd.failed(fmt.Errorf("events: refused: %s", r.GetReason()))
				}
				break
			}
			if ctx.Err() != nil {
				return
			}
			l.crowd.failed(fmt.Errorf("events: %w", err))
			if try == 5 {
				break
			}
			pause(ctx, time.Second)
		}
	}
}

func (p *play) ids() (playID, trackID string) { return id.ID(p.id).String(), id.ID(p.track).String() }

func (l *listener) started(p *play, reason string) {
	playID, trackID := p.ids()
	l.say(&collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Started{Started: &eventv1.PlaybackStarted{
		PlayId: playID, TrackId: trackID, QualityKbps: 160, Reason: reason, Transport: l.crowd.spec.Transport,
		Context: &eventv1.Context{Uri: "segue:track:" + trackID},
	}}})
}

// played are position and heard time now.
func (p *play) played() (position, heard uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, d := time.Now(), p.heard
	if !p.begun.IsZero() {
		d += max(now.Sub(p.begun), 0)
	}
	return uint64(p.position(now).Milliseconds()), uint64(d.Milliseconds())
}

// progress reports now and then until it is stopped.
func (l *listener) progress(p *play) (stop func()) {
	var stopped atomic.Bool
	var t *time.Timer
	armed := make(chan struct{})
	t = time.AfterFunc(progressEvery, func() {
		<-armed
		if stopped.Load() {
			return
		}
		playID, trackID := p.ids()
		position, heard := p.played()
		l.say(&collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Progress{Progress: &eventv1.PlaybackProgress{
			PlayId: playID, TrackId: trackID, PositionMs: position, HeardMs: heard,
		}}})
		t.Reset(progressEvery)
	})
	close(armed)
	return func() { stopped.Store(true); t.Stop() }
}

func (l *listener) seeked(p *play, from, to uint64) {
	playID, trackID := p.ids()
	l.say(&collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Seeked{Seeked: &eventv1.PlaybackSeeked{
		PlayId: playID, TrackId: trackID, FromMs: from, ToMs: to,
	}}})
}

func (l *listener) skipped(p *play) {
	playID, trackID := p.ids()
	position, heard := p.played()
	l.say(&collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Skipped{Skipped: &eventv1.PlaybackSkipped{
		PlayId: playID, TrackId: trackID, PositionMs: position, HeardMs: heard,
	}}})
	l.ended(p, "skipped")
}

func (l *listener) ended(p *play, reason string) {
	playID, trackID := p.ids()
	_, heard := p.played()
	l.say(&collectv1.ClientEvent{Payload: &collectv1.ClientEvent_Ended{Ended: &eventv1.PlaybackEnded{
		PlayId: playID, TrackId: trackID, HeardMs: heard, Reason: reason,
	}}})
}
