package user

import (
	"context"
	"errors"
	"fmt"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/identity"
)

// refreshGrace is how long the token just replaced still gives its successor: two tabs at
// once, or a reply that was lost.
const refreshGrace = 10 * time.Second

// errGrant refuses a code or a refresh token; which of the reasons is nobody's business.
var errGrant = errors.New("grant is not valid")

// refresh takes a refresh token and gives the family with the token to use next. The
// decision is one compare-and-set of the family's revision. errGrant refuses; a genuine
// token of the past ends the whole family (RFC 9700 section 4.14.2).
func (s *Service) refresh(ctx context.Context, token, clientID string) (Account, Family, refreshToken, error) {
	t, ok := parseRefresh(token)
	if !ok {
		return s.refused("malformed")
	}
	who := identity.From(ctx)
	for range casTries {
		f, err := s.store.Family(ctx, t.family)
		if errors.Is(err, ErrNoSession) {
			return s.refused("unknown")
		}
		if err != nil {
			return Account{}, Family{}, refreshToken{}, err
		}
		now := s.now().UTC()
		if f.ClientID != clientID || !f.Live(now) {
			return s.refused("ended")
		}
		a, err := s.store.Account(ctx, f.UserID)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Account{}, Family{}, refreshToken{}, err
		}
		if err != nil || a.Disabled {
			return s.refused("account")
		}
		if t.generation == f.Generation && t.hash() == f.Current {
			f, next, err := s.rotate(ctx, f, now, who)
			if errors.Is(err, ErrSession) {
				continue // another tab was quicker; read again: ours is now the one before
			}
			s.metrics.refreshes.WithLabelValues("rotated").Inc()
			return a, f, next, err
		}
		genuine, err := s.wasOurs(t, f)
		if err != nil {
			return Account{}, Family{}, refreshToken{}, err
		}
		if !genuine {
			return s.refused("forged")
		}
		if t.generation+1 == f.Generation && now.Sub(f.Rotated) <= refreshGrace {
			next, ok, err := s.currentRefresh(f)
			if err != nil {
				return Account{}, Family{}, refreshToken{}, err
			}
			if ok {
				s.metrics.refreshes.WithLabelValues("grace").Inc()
				return a, f, next, nil
			}
			return s.refused("key")
		}
		if err := s.end(ctx, f.ID, familyRevoked(f.ID, "refresh token used again"), who); err != nil {
			return Account{}, Family{}, refreshToken{}, err
		}
		s.log.WarnContext(ctx, "refresh token used again, sign-in revoked", "user", f.UserID, "login", f.ID, "generation", t.generation, "current", f.Generation)
		return s.refused("reuse")
	}
	return Account{}, Family{}, refreshToken{}, ErrSession
}

func (s *Service) refused(why string) (Account, Family, refreshToken, error) {
	s.metrics.refreshes.WithLabelValues(why).Inc()
	return Account{}, Family{}, refreshToken{}, fmt.Errorf("%w: %s", errGrant, why)
}

// rotate stores the next generation of a family and gives its token.
func (s *Service) rotate(ctx context.Context, f Family, now time.Time, who identity.Identity) (Family, refreshToken, error) {
	next, keyID, err := s.freshRefresh(f, f.Generation+1)
	if err != nil {
		return Family{}, refreshToken{}, err
	}
	f.Previous, f.Current, f.Generation, f.KeyID = f.Current, next.hash(), f.Generation+1, keyID
	f.Rotated, f.Used, f.Revision = now, now, f.Revision+1
	if who.UserAgent != "" {
		f.UserAgent = who.UserAgent
	}
	e, err := s.envelope(ctx, s, fact{
		subject: loginSubject(f.ID), revision: f.Revision, userID: f.UserID, actorID: f.UserID, login: f.ID,
		payload:  &eventv1.TokenRefreshed{FamilyId: f.ID, Generation: f.Generation},
		personal: &eventv1.Personal{Ip: who.IP, UserAgent: who.UserAgent},
	})
	if err != nil {
		return Family{}, refreshToken{}, err
	}
	return f, next, s.store.UpdateFamily(ctx, f, []*eventv1.Envelope{e})
}

func familyRevoked(id, reason string) *eventv1.TokenFamilyRevoked {
	return &eventv1.TokenFamilyRevoked{FamilyId: id, Reason: reason}
}

// signOut ends the family of a refresh token of a client, whichever generation it is of.
// A token that is none, or has ended, is no error (RFC 7009 section 2.2).
func (s *Service) signOut(ctx context.Context, token, clientID string) error {
	t, ok := parseRefresh(token)
	if !ok {
		return nil
	}
	f, err := s.store.Family(ctx, t.family)
	if errors.Is(err, ErrNoSession) {
		return nil
	}
	if err != nil {
		return err
	}
	genuine := t.generation == f.Generation && t.hash() == f.Current
	if !genuine {
		if genuine, err = s.wasOurs(t, f); err != nil {
			return err
		}
	}
	if !genuine || f.ClientID != clientID {
		return nil
	}
	who := identity.From(ctx)
	who.UserID = f.UserID // the token says so
	return s.end(ctx, f.ID, &eventv1.LoggedOut{Reason: "signed out"}, who)
}
