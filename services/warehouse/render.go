package warehouse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
)

// What stands in the place of personal fields that are not shown.
const (
	personalShredded    = `"shredded"`
	personalDamaged     = `"damaged"`
	personalUnavailable = `"unavailable"`
)

// eventJSON is an event as tools read it: protobuf's names, the payload spelled out.
type eventJSON struct {
	Topic         string          `json:"topic"`
	Partition     int32           `json:"partition"`
	Offset        int64           `json:"offset,string"`
	ID            string          `json:"id,omitempty"`
	Type          string          `json:"type,omitempty"`
	Time          string          `json:"time"`
	ClientTime    string          `json:"clientTime,omitempty"`
	UserID        string          `json:"userId,omitempty"`
	ActorID       string          `json:"actorId,omitempty"`
	DeviceID      string          `json:"deviceId,omitempty"`
	SessionID     string          `json:"sessionId,omitempty"`
	TraceID       string          `json:"traceId,omitempty"`
	SchemaVersion uint32          `json:"schemaVersion,omitempty"`
	Subject       string          `json:"subject,omitempty"`
	Revision      uint64          `json:"revision,string,omitempty"`
	Personal      json.RawMessage `json:"personal,omitempty"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	Malformed     []byte          `json:"malformed,omitempty"`
}

// render spells an event out, with its personal fields while their key exists.
func (s *Service) render(ctx context.Context, keys event.PersonalKeys, r *Row) (string, error) {
	out := eventJSON{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: stamp(timestamppb.New(r.Time())), Malformed: r.Raw}
	if e := r.Envelope; e != nil {
		out.ID, out.Type, out.UserID, out.ActorID, out.DeviceID = e.GetId(), e.GetType(), e.GetUserId(), e.GetActorId(), e.GetDeviceId()
		out.SessionID, out.TraceID, out.SchemaVersion, out.Subject, out.Revision = e.GetSessionId(), e.GetTraceId(), e.GetSchemaVersion(), e.GetSubject(), e.GetRevision()
		if c := e.GetClientTime(); c.IsValid() {
			out.ClientTime = stamp(c)
		}
		if len(e.GetPersonal()) > 0 {
			p, err := s.personal(ctx, keys, r)
			if err != nil {
				return "", err
			}
			out.Personal = p
		}
		out.Payload = json.RawMessage(payloadJSON(e.GetPayload()))
	}
	b, err := json.Marshal(out)
	return string(b), err
}

func (s *Service) personal(ctx context.Context, keys event.PersonalKeys, r *Row) (json.RawMessage, error) {
	p, err := event.Open(ctx, keys, r.Envelope)
	switch {
	case errors.Is(err, event.ErrShredded):
		return json.RawMessage(personalShredded), nil
	case errors.Is(err, event.ErrSealed), errors.Is(err, event.ErrMalformed):
		return json.RawMessage(personalDamaged), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		s.deps.Log.WarnContext(ctx, "personal fields cannot be opened", "event", r.Envelope.GetId(), "err", err)
		return json.RawMessage(personalUnavailable), nil
	}
	b, err := protojson.Marshal(p)
	return compact(b), err
}

// payloadJSON is a payload with its type in "@type". A type that this version does not
// know, or a payload that does not decode, stays as its type and the bytes in base64.
func payloadJSON(p *anypb.Any) string {
	if p == nil {
		return ""
	}
	if b, err := protojson.Marshal(p); err == nil {
		return string(compact(b))
	}
	b, err := json.Marshal(struct {
		Type  string `json:"@type"`
		Value []byte `json:"value"`
	}{p.GetTypeUrl(), p.GetValue()})
	if err != nil {
		return "{}" // a string and bytes always encode
	}
	return string(b)
}

// compact takes out the spaces that protojson puts in at random.
func compact(b []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return b
	}
	return out.Bytes()
}

func stamp(t *timestamppb.Timestamp) string { return t.AsTime().Format(time.RFC3339Nano) }

// keyCache remembers the keys of one search: thousands of its events are of one listener.
type keyCache struct {
	next event.PersonalKeys
	keys map[string]cachedKey
}

type cachedKey struct {
	id  string
	key [32]byte
	err error
}

// maxKeys bounds a cache.
const maxKeys = 4096

func newKeyCache(next event.PersonalKeys) *keyCache {
	return &keyCache{next: next, keys: map[string]cachedKey{}}
}

// Key implements event.PersonalKeys.
func (c *keyCache) Key(ctx context.Context, userID string) (string, [32]byte, error) {
	k, ok := c.keys[userID]
	if !ok {
		k.id, k.key, k.err = c.next.Key(ctx, userID)
		if k.err != nil && !errors.Is(k.err, event.ErrShredded) {
			return "", k.key, k.err // it may be back a moment later
		}
		if len(c.keys) >= maxKeys {
			clear(c.keys)
		}
		c.keys[userID] = k
	}
	return k.id, k.key, k.err
}
