package player

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"connectrpc.com/connect"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/stream/id"
)

// Remote is the listener's player as the server has it, for other devices to see.
type Remote struct {
	client   playbackv1connect.PlayerServiceClient
	deviceID string
	log      *slog.Logger
	queue    []*playbackv1.QueueItem
	kbps     uint32

	mu    sync.Mutex
	state *playbackv1.PlayerState // what the server answered last
	want  spot
	gone  bool // another device is the active one now

	wake chan struct{}
	quit chan struct{}
	done chan struct{}
}

// spot is what changes while a queue is played.
type spot struct {
	index    uint32
	position time.Duration
	playing  bool
}

// conflicts bounds how often a change is tried against those of others.
const conflicts = 5

// Activate makes this device the active one, with a queue that it begins to play.
func Activate(ctx context.Context, c playbackv1connect.PlayerServiceClient, deviceID string, tracks []id.ID, from time.Duration, kbps uint32, log *slog.Logger) (*Remote, error) {
	r := &Remote{
		client: c, deviceID: deviceID, log: log, kbps: kbps,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	for _, t := range tracks {
		r.queue = append(r.queue, &playbackv1.QueueItem{TrackId: t.String(), ContextUri: "segue:track:" + t.String()})
	}
	if err := r.update(ctx, spot{0, from, true}, true); err != nil {
		return nil, fmt.Errorf("make this the active device: %w", err)
	}
	go r.run() //nolint:gosec // it ends with Stop, which comes after ctx has ended
	return r, nil
}

// update changes the server's state; on a conflict it reads it again first.
func (r *Remote) update(ctx context.Context, s spot, activate bool) error {
	var err error
	for range conflicts {
		r.mu.Lock()
		state := r.state
		r.mu.Unlock()
		if state == nil {
			res, err := r.client.GetPlayer(ctx, &playbackv1.GetPlayerRequest{})
			if err != nil {
				return err
			}
			state = res.GetState()
		}
		if !activate && state.GetActiveDeviceId() != r.deviceID {
			return ErrElsewhere
		}
		var res *playbackv1.UpdatePlayerResponse
		res, err = r.client.UpdatePlayer(ctx, &playbackv1.UpdatePlayerRequest{
			Revision: state.GetRevision(), DeviceId: r.deviceID, Activate: activate,
			State: &playbackv1.PlayerState{
				Queue: r.queue, Index: s.index, PositionMs: ms(s.position), Playing: s.playing,
				VolumeMilli: state.GetVolumeMilli(), QualityKbps: r.kbps,
			},
		})
		r.mu.Lock()
		r.state = res.GetState() // nil after a conflict: read again
		r.mu.Unlock()
		if connect.CodeOf(err) != connect.CodeAborted || err == nil {
			return err
		}
	}
	return err
}

// ErrElsewhere says that the listener plays on another device now.
var ErrElsewhere = errors.New("another device plays now")

// watchAgain is the pause before the player is watched anew.
const watchAgain = 2 * time.Second

// Watch calls elsewhere when another device becomes the active one, once. It returns then,
// or when ctx ends. What was received ahead would play on for half a minute otherwise.
func (r *Remote) Watch(ctx context.Context, elsewhere func()) {
	r.mu.Lock()
	epoch, since := r.state.GetActiveEpoch(), r.state.GetRevision()
	r.mu.Unlock()
	for {
		err := r.follow(ctx, since, epoch)
		if errors.Is(err, ErrElsewhere) {
			elsewhere()
			return
		}
		r.log.Debug("player state is not followed for a moment", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchAgain):
		}
	}
}

// follow watches until the stream ends, or another device is active since a later epoch.
func (r *Remote) follow(ctx context.Context, since, epoch uint64) error {
	stream, err := r.client.WatchPlayer(ctx, &playbackv1.WatchPlayerRequest{SinceRevision: since})
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if s := stream.Msg().GetState(); s.GetActiveEpoch() > epoch && s.GetActiveDeviceId() != r.deviceID {
			return ErrElsewhere
		}
	}
	return stream.Err()
}

// At tells the server, as soon as it can be told, what is played now.
func (r *Remote) At(index int, position time.Duration, playing bool) {
	r.mu.Lock()
	r.want = spot{uint32(index), position, playing}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // the one before is on its way; the newest is read then
	}
}

func (r *Remote) run() {
	defer close(r.done)
	for {
		select {
		case <-r.quit:
			return
		case <-r.wake:
		}
		r.mu.Lock()
		want, gone := r.want, r.gone
		r.mu.Unlock()
		if gone {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := r.update(ctx, want, false)
		cancel()
		if errors.Is(err, ErrElsewhere) {
			r.mu.Lock()
			r.gone = true
			r.mu.Unlock()
		} else if err != nil {
			r.log.Debug("player state was not updated", "err", err)
		}
	}
}

// Stop tells the server where it ended, until ctx ends.
func (r *Remote) Stop(ctx context.Context, index int, position time.Duration) {
	close(r.quit)
	<-r.done
	if r.gone {
		return
	}
	if err := r.update(ctx, spot{uint32(index), position, false}, false); err != nil {
		r.log.Debug("player state was not updated", "err", err)
	}
}
