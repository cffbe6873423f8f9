package playback

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/ticket"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
)

// sessionKey is the key that wraps content keys for one session: derived from a ticket
// key, the session's id and the hash of the device's key, so that every instance
// computes it and none stores it.
func sessionKey(k keyring.Key, sessionID id.ID, keyHash [32]byte) [16]byte {
	key := k.Derive("segue session key", sessionID[:], keyHash[:])
	return [16]byte(key[:16])
}

// ticketKey finds the ticket key of an id among those that the ring still has.
func (s *Service) ticketKey(keyID uint32) (keyring.Key, error) {
	keys, err := s.Keys.Keys(keyring.Ticket)
	if err != nil {
		return keyring.Key{}, fmt.Errorf("read ticket keys: %w", err)
	}
	for _, k := range keys {
		if k.ID == keyID {
			return k, nil
		}
	}
	// Rotated away: its session key cannot be computed any more.
	return keyring.Key{}, ErrSessionEnded
}

// OpenSession implements playbackv1connect.SessionServiceHandler.
func (s *Service) OpenSession(ctx context.Context, req *playbackv1.OpenSessionRequest) (*playbackv1.OpenSessionResponse, error) {
	who, now := identity.From(ctx), s.Now().UTC()
	endpoints, err := s.Endpoints(ctx)
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	keys, err := s.Keys.Keys(keyring.Ticket)
	if err != nil {
		return nil, fmt.Errorf("open session: read ticket keys: %w", err)
	}
	v := Session{
		ID: s.NewID(), UserID: who.UserID, DeviceID: req.GetDeviceId(), LoginID: who.LoginID,
		KeyHash: sha256.Sum256(req.GetPublicKey()), KeyID: keys[0].ID, Opened: now, Renewed: now,
	}
	sessionID, err := id.Parse(v.ID)
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	sealed, err := seal.SealSessionKey(req.GetPublicKey(), sessionID, sessionKey(keys[0], sessionID, v.KeyHash))
	if err != nil {
		return nil, ErrDeviceKey.Because(err)
	}
	state, err := s.registerDevice(ctx, who.UserID, &playbackv1.Device{
		Id: req.GetDeviceId(), Name: req.GetDeviceName(), LastSeenUnixMs: now.UnixMilli(),
	})
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	v.Epoch = state.GetActiveEpoch()
	env, err := event.New(s.NewID(), now, "session:"+v.ID, 1, &eventv1.SessionOpened{Client: req.GetClient()})
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	s.stamp(ctx, env, v.UserID, v.DeviceID, v.ID)
	if err := s.Store.PutSession(ctx, v, s.Config.MaxSessions, Event{event.Playback, v.UserID, env}); err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	s.fences.update(v.UserID, func(e *fence) { e.sessions[v.ID] = struct{}{} })
	t, expires, err := s.mint(keys, v, v.Epoch, who)
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	return &playbackv1.OpenSessionResponse{
		SessionId: v.ID, Ticket: t, TicketExpiresUnixMs: expires.UnixMilli(), SealedKey: sealed, Endpoints: endpoints,
		MaxKbps: s.Config.maxKbps(who.Plan), ActiveEpoch: v.Epoch, ServerUnixMs: now.UnixMilli(),
	}, nil
}

// RenewTicket implements playbackv1connect.SessionServiceHandler. The device and its key
// come from the stored session, market and plan from the caller's token: a renewal is
// where a change of plan takes effect.
func (s *Service) RenewTicket(ctx context.Context, req *playbackv1.RenewTicketRequest) (*playbackv1.RenewTicketResponse, error) {
	who := identity.From(ctx)
	v, err := s.Store.Session(ctx, who.UserID, req.GetSessionId())
	if errors.Is(err, ErrAbsent) {
		return nil, ErrNoSession // also for another listener's
	}
	if err != nil {
		return nil, fmt.Errorf("renew ticket: %w", err)
	}
	if _, err := s.ticketKey(v.KeyID); err != nil {
		return nil, fmt.Errorf("renew ticket: %w", err)
	}
	state, err := s.Store.Player(ctx, who.UserID)
	if err != nil {
		return nil, fmt.Errorf("renew ticket: %w", err)
	}
	// A fenced session stays fenced: only activating its device gives it a newer epoch.
	epoch := v.Epoch
	if a := state.GetActiveDeviceId(); a == "" || a == v.DeviceID {
		epoch = state.GetActiveEpoch()
	}
	keys, err := s.Keys.Keys(keyring.Ticket)
	if err != nil {
		return nil, fmt.Errorf("renew ticket: read ticket keys: %w", err)
	}
	t, expires, err := s.mint(keys, v, epoch, who)
	if err != nil {
		return nil, fmt.Errorf("renew ticket: %w", err)
	}
	err = s.Store.RenewSession(ctx, v.UserID, v.ID, s.Now().UTC())
	if errors.Is(err, ErrAbsent) {
		return nil, ErrNoSession // ended meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("renew ticket: %w", err)
	}
	return &playbackv1.RenewTicketResponse{Ticket: t, TicketExpiresUnixMs: expires.UnixMilli(), ActiveEpoch: epoch}, nil
}

var errMint = errors.New("ticket cannot be made: market or plan too long")

func (s *Service) mint(keys []keyring.Key, v Session, epoch uint64, who identity.Identity) ([]byte, time.Time, error) {
	t := ticket.Ticket{
		Market: who.Market, Plan: who.Plan, MaxKbps: s.Config.maxKbps(who.Plan), DeviceKeyHash: v.KeyHash,
		ActiveEpoch: epoch, SessionKeyID: v.KeyID, ExplicitAllowed: who.ExplicitAllowed,
		Expires: s.Now().UTC().Add(s.Config.TicketLife).Truncate(time.Millisecond),
	}
	for _, p := range []struct {
		text string
		to   *id.ID
	}{{v.ID, &t.SessionID}, {v.UserID, &t.UserID}, {v.DeviceID, &t.DeviceID}} {
		parsed, err := id.Parse(p.text)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("%q: %w", p.text, err)
		}
		*p.to = parsed
	}
	b := ticket.Mint(keys, t)
	if b == nil {
		return nil, time.Time{}, errMint
	}
	return b, t.Expires, nil
}
