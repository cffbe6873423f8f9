package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/services/playback"
)

func session(n int) playback.Session {
	return playback.Session{
		ID: key("session", n), UserID: key("user"), DeviceID: key("device", n), LoginID: key("login", n%2),
		KeyHash: [32]byte{byte(n), 9}, KeyID: uint32(n), Epoch: uint64(n), Opened: at(n), Renewed: at(n),
	}
}

func sessionRoundTrip(ctx context.Context, s Store) error {
	want := session(1)
	if err := s.PutSession(ctx, want, 9); err != nil {
		return err
	}
	got, err := s.Session(ctx, want.UserID, want.ID)
	_, other := s.Session(ctx, key("someone else"), want.ID)
	_, unknown := s.Session(ctx, want.UserID, key("unknown"))
	list, err2 := s.Sessions(ctx, want.UserID)
	none, err3 := s.Sessions(ctx, key("someone else"))
	return errors.Join(err, err2, err3, equal("session", want, got), equal("sessions", []playback.Session{want}, list),
		equal("sessions of another listener", 0, len(none)),
		is("session of another listener", other, playback.ErrAbsent), is("unknown session", unknown, playback.ErrAbsent))
}

func sessionBound(ctx context.Context, s Store) error {
	for n := range 5 {
		if err := s.PutSession(ctx, session(n), 3); err != nil {
			return err
		}
		if n == 2 { // the oldest is renewed and stays
			if err := s.RenewSession(ctx, key("user"), key("session", 0), at(60)); err != nil {
				return err
			}
		}
	}
	got := map[string]bool{}
	list, err := s.Sessions(ctx, key("user"))
	for _, v := range list {
		got[v.ID] = true
	}
	return errors.Join(err, equal("sessions", map[string]bool{key("session", 0): true, key("session", 3): true, key("session", 4): true}, got))
}

func sessionEnd(ctx context.Context, s Store) error {
	for n := range 4 {
		if err := s.PutSession(ctx, session(n), 9); err != nil {
			return err
		}
	}
	left := func() (n int, err error) {
		list, err := s.Sessions(ctx, key("user"))
		return len(list), err
	}
	err := s.EndSessions(ctx, key("user"), key("login", 1))
	one, err1 := left()
	_, gone := s.Session(ctx, key("user"), key("session", 1))
	renewed := s.RenewSession(ctx, key("user"), key("session", 1), at(9))
	err2 := s.EndSessions(ctx, key("user"), "")
	none, err3 := left()
	return errors.Join(err, err1, err2, err3, equal("sessions of the other sign-in", 2, one), equal("sessions", 0, none),
		is("ended session", gone, playback.ErrAbsent), is("renewing an ended session", renewed, playback.ErrAbsent))
}

func state(revision uint64) *playbackv1.PlayerState {
	p := &playbackv1.PlayerState{
		Revision: revision, ActiveEpoch: revision * 2, ActiveDeviceId: key("device", 1), PositionMs: revision * 100,
		AtUnixMs: at(1).UnixMilli(), Playing: revision%2 == 0, VolumeMilli: 500, Repeat: playbackv1.Repeat_REPEAT_ALL,
		Devices: []*playbackv1.Device{{Id: key("device", 1), Name: "kitchen", LastSeenUnixMs: 5}},
	}
	for n := range 300 {
		p.Queue = append(p.Queue, &playbackv1.QueueItem{TrackId: key("track", n), ContextUri: "segue:album:x"})
	}
	return p
}

func playerCompareAndSet(ctx context.Context, s Store) error {
	user := key("user")
	empty, err := s.Player(ctx, user)
	if err := errors.Join(err, equal("a new player", &playbackv1.PlayerState{}, empty)); err != nil {
		return err
	}
	for rev := uint64(1); rev <= 3; rev++ {
		if err := s.PutPlayer(ctx, user, state(rev)); err != nil {
			return fmt.Errorf("revision %d: %w", rev, err)
		}
		got, err := s.Player(ctx, user)
		kept, err2 := s.PlayerRevision(ctx, user)
		if err := errors.Join(err, err2, equal("player", state(rev), got), equal("revision", rev, kept)); err != nil {
			return err
		}
	}
	for _, rev := range []uint64{0, 1, 3, 5} {
		if err := is(fmt.Sprintf("revision %d after 3", rev), s.PutPlayer(ctx, user, state(rev)), playback.ErrStale); err != nil {
			return err
		}
	}
	got, err := s.Player(ctx, user)
	other, err2 := s.PlayerRevision(ctx, key("someone else"))
	return errors.Join(err, err2, equal("player after refusals", state(3), got), equal("another listener's player", uint64(0), other))
}

// playerQueue changes, keeps and empties the queue, which an engine may store apart.
func playerQueue(ctx context.Context, s Store) error {
	for rev, n := range []int{0, 3, 3, 0, 2} {
		p := state(uint64(rev + 1))
		p.Queue = p.Queue[:n]
		if rev == 4 {
			p.Queue[0], p.Queue[1] = p.Queue[1], p.Queue[0]
		}
		if err := s.PutPlayer(ctx, key("user"), p); err != nil {
			return err
		}
		got, err := s.Player(ctx, key("user"))
		if err := errors.Join(err, equal(fmt.Sprintf("queue of %d", n), p, got)); err != nil {
			return err
		}
	}
	return nil
}

// playerRace: of those who change one revision at once, one succeeds.
func playerRace(ctx context.Context, s Store) error {
	const writers = 8
	for rev := uint64(1); rev <= 5; rev++ {
		var wg sync.WaitGroup
		errs := make([]error, writers)
		for i := range writers {
			wg.Go(func() {
				p := state(rev)
				p.VolumeMilli = uint32(i)
				errs[i] = s.PutPlayer(ctx, key("user"), p)
			})
		}
		wg.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won >= 0:
				return fmt.Errorf("writers %d and %d both made revision %d", won, i, rev)
			case err == nil:
				won = i
			case !errors.Is(err, playback.ErrStale):
				return err
			}
		}
		if won < 0 {
			return fmt.Errorf("nobody made revision %d", rev)
		}
		got, err := s.Player(ctx, key("user"))
		if err := errors.Join(err, equal("the winner's state", uint32(won), got.GetVolumeMilli())); err != nil {
			return err
		}
	}
	return nil
}
