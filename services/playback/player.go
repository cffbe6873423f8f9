package playback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/identity"
)

const (
	maxDevices = 32
	// maxPosition bounds a position: a day.
	maxPosition = maxMS
	// deviceSeenAgain: a device that opens sessions often changes the player once an hour.
	deviceSeenAgain = time.Hour
	// registerTries bounds the compare-and-set against other changes.
	registerTries = 20
	fullVolume    = 1000
)

// player is the stored state, or that of a new player.
func (s *Service) player(ctx context.Context, userID string) (*playbackv1.PlayerState, error) {
	state, err := s.Store.Player(ctx, userID)
	if err != nil {
		return nil, err
	}
	if state.GetRevision() == 0 {
		state.VolumeMilli = fullVolume
	}
	return state, nil
}

// GetPlayer implements playbackv1connect.PlayerServiceHandler.
func (s *Service) GetPlayer(ctx context.Context, _ *playbackv1.GetPlayerRequest) (*playbackv1.GetPlayerResponse, error) {
	state, err := s.player(ctx, identity.From(ctx).UserID)
	if err != nil {
		return nil, fmt.Errorf("get player: %w", err)
	}
	return &playbackv1.GetPlayerResponse{State: state}, nil
}

// UpdatePlayer implements playbackv1connect.PlayerServiceHandler.
func (s *Service) UpdatePlayer(ctx context.Context, req *playbackv1.UpdatePlayerRequest) (*playbackv1.UpdatePlayerResponse, error) {
	userID, now := identity.From(ctx).UserID, s.Now().UTC()
	if err := checkState(req.GetState()); err != nil {
		return nil, fmt.Errorf("update player: %w", err)
	}
	before, err := s.player(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("update player: %w", err)
	}
	if before.GetRevision() != req.GetRevision() {
		return nil, ErrRevision
	}
	next := proto.CloneOf(req.GetState())
	next.Revision = before.GetRevision() + 1
	next.ActiveEpoch, next.ActiveDeviceId = before.GetActiveEpoch(), before.GetActiveDeviceId()
	next.Devices = seen(before, &playbackv1.Device{Id: req.GetDeviceId(), LastSeenUnixMs: now.UnixMilli()})
	// The position is what it was at this moment, whatever the device's clock says.
	next.AtUnixMs = now.UnixMilli()
	var events []Event
	if req.GetActivate() {
		next.ActiveEpoch++
		next.ActiveDeviceId = req.GetDeviceId()
		env, err := event.New(s.NewID(), now, "player:"+userID, next.GetRevision(),
			&eventv1.PlayerStateChanged{ActiveEpoch: next.GetActiveEpoch(), ActiveDeviceId: next.GetActiveDeviceId()})
		if err != nil {
			return nil, fmt.Errorf("update player: %w", err)
		}
		s.stamp(ctx, env, userID, req.GetDeviceId(), "")
		events = append(events, Event{event.Playback, userID, env})
	}
	if err := s.putPlayer(ctx, userID, next, events...); err != nil {
		return nil, fmt.Errorf("update player: %w", err)
	}
	return &playbackv1.UpdatePlayerResponse{State: next}, nil
}

// putPlayer stores a state and tells those who wait for it.
func (s *Service) putPlayer(ctx context.Context, userID string, next *playbackv1.PlayerState, events ...Event) error {
	err := s.Store.PutPlayer(ctx, userID, next, events...)
	if errors.Is(err, ErrStale) {
		return ErrRevision.Because(err)
	}
	if err != nil {
		return err
	}
	s.fences.update(userID, func(e *fence) { e.see(next) })
	s.watchers.notify(userID)
	s.Notices.Tell(userID, toldChanged)
	return nil
}

// checkState refuses what the rules in proto/ cannot say.
func checkState(p *playbackv1.PlayerState) error {
	n := len(p.GetQueue())
	switch {
	case n == 0 && (p.GetIndex() != 0 || p.GetPlaying() || p.GetPositionMs() != 0):
		return ErrState.With("nothing can play from an empty queue")
	case n > 0 && int64(p.GetIndex()) >= int64(n):
		return ErrState.With("index is past the end of the queue")
	case p.GetPositionMs() > maxPosition:
		return ErrState.With("position_ms is over a day")
	}
	return nil
}

// seen is the list of devices with one of them seen now. The ones seen longest ago make
// room, never the active one.
func seen(p *playbackv1.PlayerState, d *playbackv1.Device) []*playbackv1.Device {
	list := slices.Clone(p.GetDevices())
	i := slices.IndexFunc(list, func(o *playbackv1.Device) bool { return o.GetId() == d.GetId() })
	if i >= 0 {
		if d.GetName() == "" {
			d.Name = list[i].GetName()
		}
		list = slices.Delete(list, i, i+1)
	}
	list = append(list, d)
	for len(list) > maxDevices {
		i := slices.IndexFunc(list, func(o *playbackv1.Device) bool { return o.GetId() != p.GetActiveDeviceId() })
		list = slices.Delete(list, i, i+1)
	}
	return list
}

// registerDevice puts a device into the player, if it is new or changed, and returns the
// state that holds then.
func (s *Service) registerDevice(ctx context.Context, userID string, d *playbackv1.Device) (*playbackv1.PlayerState, error) {
	for range registerTries {
		state, err := s.player(ctx, userID)
		if err != nil {
			return nil, err
		}
		known := slices.ContainsFunc(state.GetDevices(), func(o *playbackv1.Device) bool {
			age := d.GetLastSeenUnixMs() - o.GetLastSeenUnixMs()
			return o.GetId() == d.GetId() && o.GetName() == d.GetName() && age >= 0 && age < deviceSeenAgain.Milliseconds()
		})
		if known {
			return state, nil
		}
		state.Devices = seen(state, proto.CloneOf(d))
		state.Revision++
		err = s.putPlayer(ctx, userID, state)
		if errors.Is(err, ErrRevision) {
			continue
		}
		return state, err
	}
	return nil, ErrRevision
}
