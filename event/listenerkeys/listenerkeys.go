// Package listenerkeys gives a process the keys that seal the personal fields of events:
// the user service owns them, this holds what it was told for a while.
package listenerkeys

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/segue-music/segue/event"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/internal/fault"
)

// Keys is an event.PersonalKeys that asks the user service.
type Keys struct {
	client userv1connect.ListenerKeyServiceClient
	fresh  time.Duration
	now    func() time.Time

	mu   sync.Mutex
	held map[string]heldKey
}

type heldKey struct {
	id    string
	key   [32]byte
	until time.Time
}

const maxKeys = 20_000

// New asks client and holds a key for as long as fresh.
func New(client userv1connect.ListenerKeyServiceClient, fresh time.Duration, now func() time.Time) *Keys {
	return &Keys{client: client, fresh: fresh, now: now, held: map[string]heldKey{}}
}

// Key implements event.PersonalKeys.
func (k *Keys) Key(ctx context.Context, userID string) (string, [32]byte, error) {
	now := k.now()
	k.mu.Lock()
	h, ok := k.held[userID]
	k.mu.Unlock()
	if ok && now.Before(h.until) && h.until.Sub(now) <= k.fresh {
		return h.id, h.key, nil
	}
	res, err := k.client.GetListenerKey(ctx, &userv1.GetListenerKeyRequest{UserId: userID})
	if fault.KindOf(err) == fault.NotFound {
		return "", [32]byte{}, event.ErrShredded
	}
	if err != nil {
		return "", [32]byte{}, fmt.Errorf("ask for listener key: %w", err)
	}
	if len(res.GetKey()) != len(h.key) {
		return "", [32]byte{}, fmt.Errorf("listener key of %d bytes", len(res.GetKey()))
	}
	h = heldKey{id: res.GetKeyId(), key: [32]byte(res.GetKey()), until: now.Add(k.fresh)}
	k.mu.Lock()
	defer k.mu.Unlock()
	for other := range k.held {
		if len(k.held) < maxKeys {
			break
		}
		delete(k.held, other) // any one: it is asked for again
	}
	k.held[userID] = h
	return h.id, h.key, nil
}
