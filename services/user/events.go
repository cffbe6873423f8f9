package user

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/identity"
)

// fact is an event in the making.
type fact struct {
	subject  string // "user:<id>", "login:<family>"
	revision uint64
	userID   string // whom it is about
	actorID  string // who did it; empty for the system
	login    string // family, where there is one
	payload  proto.Message
	personal *eventv1.Personal // sealed; nil where there is nothing personal
}

// reasoned is a payload that says why: LoggedOut, TokenFamilyRevoked.
type reasoned interface {
	proto.Message
	GetReason() string
}

func accountSubject(id string) string { return "user:" + id }
func loginSubject(id string) string   { return "login:" + id }

// envelope makes the event of a fact, its personal fields sealed under keys.
func (s *Service) envelope(ctx context.Context, keys event.PersonalKeys, f fact) (*eventv1.Envelope, error) {
	e, err := event.New(s.newID(), s.now(), f.subject, f.revision, f.payload)
	if err != nil {
		return nil, err
	}
	e.UserId, e.ActorId, e.SessionId = f.userID, f.actorID, f.login
	event.Trace(ctx, e)
	if f.personal == nil || f.userID == "" {
		return e, nil // without a listener there is no key, and nothing personal is kept
	}
	return e, event.Seal(ctx, keys, e, f.personal)
}

// from is where a call came from, as personal fields. Only the listener's own: what an
// admin does to an account is not sealed under that account's key.
func from(who identity.Identity, userID string) *eventv1.Personal {
	p := &eventv1.Personal{}
	if who.UserID == userID || who.UserID == "" {
		p.Ip, p.UserAgent = who.IP, who.UserAgent
	}
	return p
}

// held reads the key of a listener once for several events.
func (s *Service) held(ctx context.Context, userID string) (heldKey, error) {
	id, key, err := s.Key(ctx, userID)
	return heldKey{id: id, key: key}, err
}

// recordWithin bounds a record whose caller may be gone.
const recordWithin = 5 * time.Second

// record commits the event of something that changed nothing here. It must not make the
// refusal it tells of look like a failure, so its own failure is logged. A caller who hangs
// up does not keep it from being told.
func (s *Service) record(ctx context.Context, f fact) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	e, err := s.envelope(ctx, s, f)
	if errors.Is(err, event.ErrShredded) || errors.Is(err, ErrNotFound) {
		return // the account is gone, and with it whom it would be about
	}
	if err == nil {
		err = s.store.Record(ctx, []*eventv1.Envelope{e})
	}
	if err != nil {
		s.log.ErrorContext(ctx, "identity event is lost", "event", string(f.payload.ProtoReflect().Descriptor().Name()), "err", err)
	}
}
