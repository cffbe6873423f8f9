//go:build engines

package cassandra_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/services/playback"
	"github.com/segue-music/segue/services/playback/cassandra"
)

// pair is two processes with clocks two hours apart, which take turns: what one did the
// other must see.
type pair struct {
	both [2]*cassandra.Store
	n    atomic.Int64
}

func (r *ring) pair(t *testing.T) *pair {
	t.Helper()
	p := &pair{}
	for i := range p.both {
		skew := time.Duration(1-2*i) * time.Hour // the first is ahead
		p.both[i] = r.open(t, cassandra.Options{Now: func() time.Time { return time.Now().Add(skew) }})
	}
	return p
}

func (p *pair) next() *cassandra.Store { return p.both[p.n.Add(1)%2] }

func (p *pair) Relay(log event.Log, logger *slog.Logger) *outbox.Relay {
	return p.next().Relay(log, logger)
}

func (p *pair) AddEvents(ctx context.Context, events ...playback.Event) error {
	return p.next().AddEvents(ctx, events...)
}

func (p *pair) ForgetListener(ctx context.Context, userID string) error {
	return p.next().ForgetListener(ctx, userID)
}

func (p *pair) Prune(ctx context.Context, sessions, plays time.Time) error {
	return p.next().Prune(ctx, sessions, plays)
}

func (p *pair) PutSession(ctx context.Context, v playback.Session, keep int, events ...playback.Event) error {
	return p.next().PutSession(ctx, v, keep, events...)
}

func (p *pair) Session(ctx context.Context, userID, sessionID string) (playback.Session, error) {
	return p.next().Session(ctx, userID, sessionID)
}

func (p *pair) Sessions(ctx context.Context, userID string) ([]playback.Session, error) {
	return p.next().Sessions(ctx, userID)
}

func (p *pair) RenewSession(ctx context.Context, userID, sessionID string, at time.Time) error {
	return p.next().RenewSession(ctx, userID, sessionID, at)
}

func (p *pair) EndSessions(ctx context.Context, userID, loginID string) error {
	return p.next().EndSessions(ctx, userID, loginID)
}

func (p *pair) Player(ctx context.Context, userID string) (*playbackv1.PlayerState, error) {
	return p.next().Player(ctx, userID)
}

func (p *pair) PlayerRevision(ctx context.Context, userID string) (uint64, error) {
	return p.next().PlayerRevision(ctx, userID)
}

func (p *pair) PutPlayer(ctx context.Context, userID string, state *playbackv1.PlayerState, events ...playback.Event) error {
	return p.next().PutPlayer(ctx, userID, state, events...)
}

func (p *pair) AddKey(ctx context.Context, k playback.ContentKey) error {
	return p.next().AddKey(ctx, k)
}

func (p *pair) ContentKey(ctx context.Context, objectID string) (playback.ContentKey, error) {
	return p.next().ContentKey(ctx, objectID)
}

func (p *pair) NewestKey(ctx context.Context, trackID string, kbps uint32) (playback.ContentKey, error) {
	return p.next().NewestKey(ctx, trackID, kbps)
}

func (p *pair) Play(ctx context.Context, userID, playID string) (playback.Play, error) {
	return p.next().Play(ctx, userID, playID)
}

func (p *pair) SeenEvents(ctx context.Context, userID string, ids []string) (map[string]bool, error) {
	return p.next().SeenEvents(ctx, userID, ids)
}

func (p *pair) CommitPlays(ctx context.Context, changes []playback.PlayChange) []error {
	return p.next().CommitPlays(ctx, changes)
}

func (p *pair) DuePlays(ctx context.Context, now time.Time, limit int) ([]playback.Play, error) {
	return p.next().DuePlays(ctx, now, limit)
}

func (p *pair) PutTrack(ctx context.Context, t playback.Track) error {
	return p.next().PutTrack(ctx, t)
}

func (p *pair) Track(ctx context.Context, id string) (playback.Track, error) {
	return p.next().Track(ctx, id)
}
