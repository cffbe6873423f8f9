package stream

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/ticket"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/wire"
)

// Verify implements [server.Tickets] by the key ring alone.
func (s *Service) Verify(b []byte) (server.Session, error) {
	keys, err := s.deps.Ring.Keys(keyring.Ticket)
	if err != nil {
		return nil, fmt.Errorf("read ticket keys: %w", err)
	}
	t, err := ticket.Verify(keys, b, s.deps.Now())
	switch {
	case errors.Is(err, ticket.ErrExpired):
		return nil, wire.Errorf(wire.TicketExpired, "ticket has expired")
	case err != nil:
		return nil, wire.Errorf(wire.TicketInvalid, "ticket is not valid")
	}
	return &session{s: s, t: t}, nil
}

// session is a verified ticket.
type session struct {
	s *Service
	t ticket.Ticket
}

func (x *session) ID() [16]byte       { return x.t.SessionID }
func (x *session) Expires() time.Time { return x.t.Expires }

// Resolve asks playback, which holds the catalogue and the keys.
func (x *session) Resolve(ctx context.Context, p *wire.Play) (server.Resolved, error) {
	res, err := x.s.deps.Streams.ResolvePlay(ctx, &playbackv1.ResolvePlayRequest{
		TrackId: id.ID(p.Track).String(), QualityKbps: p.Quality.Kbps(),
		UserId: x.t.UserID.String(), SessionId: x.t.SessionID.String(), DeviceId: x.t.DeviceID.String(),
		DeviceKeyHash: x.t.DeviceKeyHash[:], Market: x.t.Market, Plan: x.t.Plan, ActiveEpoch: x.t.ActiveEpoch,
		MaxKbps: x.t.MaxKbps, Prefetch: p.Flags&wire.Prefetch != 0,
		ExplicitAllowed: x.t.ExplicitAllowed, SessionKeyId: x.t.SessionKeyID,
	})
	if err != nil {
		return server.Resolved{}, refusal(err)
	}
	object, err := parseObjectID(res.GetObjectId())
	if err != nil {
		return server.Resolved{}, fmt.Errorf("playback answered: %w", err)
	}
	url, err := x.s.objectURL(object)
	if err != nil {
		return server.Resolved{}, err
	}
	return server.Resolved{
		ObjectID: object, KID: res.GetKid(), WrappedKey: res.GetWrappedKey(), CDN: url,
		GainTrack: q8(res.GetGainTrackQ8()), GainAlbum: q8(res.GetGainAlbumQ8()), Peak: q8(res.GetPeakQ8()),
	}, nil
}

func q8(v int32) int16 { return int16(min(max(v, math.MinInt16), math.MaxInt16)) }

func parseObjectID(s string) (o [16]byte, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(o) || hex.EncodeToString(b) != s {
		return o, fmt.Errorf("object id %.40q is malformed", s)
	}
	copy(o[:], b)
	return o, nil
}

// refusal turns an error of playback into what a client is told. An error without a
// kind stays what it is: logged, and Internal for the client.
func refusal(err error) error {
	code := wire.Internal
	retry := fault.RetryAfter(err)
	switch kindOf(err) {
	case fault.NotFound:
		code = wire.NotFound
	case fault.Denied:
		code = wire.NotEntitled
	case fault.Unauthenticated:
		code = wire.TicketInvalid
	case fault.Conflict, fault.Exists:
		code = wire.PlayingElsewhere
	case fault.Exhausted:
		code = wire.RateLimited
		retry = max(retry, time.Second)
	case fault.Unavailable:
		retry = max(retry, time.Second)
	default:
		return err
	}
	return fmt.Errorf("%w: %w", &wire.Error{Code: code, RetryAfter: retry, Text: fault.Public(err)}, err)
}

// kindOf reads the kind of an error, also of one that a stream gave as connect has it.
func kindOf(err error) fault.Kind {
	if k := fault.KindOf(err); k != 0 {
		return k
	}
	if !connect.IsWireError(err) {
		return 0
	}
	switch connect.CodeOf(err) {
	case connect.CodeNotFound:
		return fault.NotFound
	case connect.CodePermissionDenied:
		return fault.Denied
	case connect.CodeUnauthenticated:
		return fault.Unauthenticated
	case connect.CodeResourceExhausted:
		return fault.Exhausted
	case connect.CodeUnavailable:
		return fault.Unavailable
	default:
		return 0
	}
}

// Fence asks playback, once a second and session at most.
func (x *session) Fence(ctx context.Context) error {
	return x.s.fences.check(ctx, fenceKey{
		user: x.t.UserID, session: x.t.SessionID, device: x.t.DeviceID, epoch: x.t.ActiveEpoch,
	})
}

// Served implements [server.Session].
func (x *session) Served(v server.Served) {
	x.s.ledger.add(servedKey{
		user: x.t.UserID, session: x.t.SessionID, device: x.t.DeviceID, play: id.ID(v.PlayID), track: id.ID(v.Track),
	}, v.Millis, v.Bytes)
	x.s.metrics.bytes.Add(float64(v.Bytes))
}

// Watch passes the states of the listener's player on. While playback is away it
// waits and asks again: the stream of the client stays open.
func (x *session) Watch(ctx context.Context, since uint64, send func(wire.State) error) error {
	for {
		err := x.watchOnce(ctx, &since, send)
		if err != nil && kindOf(err) != fault.Unavailable {
			return refusal(err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (x *session) watchOnce(ctx context.Context, since *uint64, send func(wire.State) error) error {
	states, err := x.s.deps.Players.WatchPlayer(ctx, &playbackv1.WatchPlayerRequest{SinceRevision: *since, UserId: x.t.UserID.String()})
	if err != nil {
		return fmt.Errorf("watch player: %w", err)
	}
	defer func() { _ = states.Close() }()
	for states.Receive() {
		st := states.Msg().GetState()
		b, err := proto.Marshal(st)
		if err != nil {
			return fmt.Errorf("encode player state: %w", err)
		}
		if err := send(wire.State{Revision: st.GetRevision(), Player: b}); err != nil {
			return err
		}
		*since = st.GetRevision()
	}
	if err := states.Err(); err != nil {
		return fmt.Errorf("watch player: %w", err)
	}
	return nil
}
