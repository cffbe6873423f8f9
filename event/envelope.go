package event

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/span"
)

// ErrMalformed says that bytes are no envelope.
var ErrMalformed = errors.New("event envelope is malformed")

// idLen is the length of an id: 128 bits in base62.
const idLen = 22

// SchemaVersion is what New writes; a consumer refuses none, fields are only ever added.
const SchemaVersion = 1

// New makes the envelope of a payload. id is 22 characters of base62; subject is
// "<kind>:<id>" and revision that of the subject after the change. The caller adds whom
// it is about from the token it checked.
func New(id string, now time.Time, subject string, revision uint64, payload proto.Message) (*eventv1.Envelope, error) {
	if err := checkID(id); err != nil {
		return nil, fmt.Errorf("new event: %w", err)
	}
	packed, err := anypb.New(payload)
	if err != nil {
		return nil, fmt.Errorf("new event: %w", err)
	}
	return &eventv1.Envelope{
		Id: id, Type: string(payload.ProtoReflect().Descriptor().Name()), Time: timestamppb.New(now.UTC()),
		SchemaVersion: SchemaVersion, Subject: subject, Revision: revision, Payload: packed,
	}, nil
}

// Trace puts the trace of ctx, the act that causes the event, into an envelope that names
// none.
func Trace(ctx context.Context, e *eventv1.Envelope) {
	if e.GetTraceId() == "" {
		e.TraceId = span.TraceID(ctx)
	}
}

func checkID(id string) error {
	if len(id) != idLen {
		return fmt.Errorf("%w: id of %d characters", ErrMalformed, len(id))
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return fmt.Errorf("%w: id is not base62", ErrMalformed)
		}
	}
	return nil
}

// Marshal encodes an envelope of at most [MaxValue] bytes.
func Marshal(e *eventv1.Envelope) ([]byte, error) {
	if err := check(e); err != nil {
		return nil, err
	}
	b, err := proto.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	if len(b) > MaxValue {
		return nil, fmt.Errorf("encode event: %w: %d bytes", ErrTooLarge, len(b))
	}
	return b, nil
}

// Unmarshal decodes an envelope. The payload stays packed: an unknown type is no error.
func Unmarshal(b []byte) (*eventv1.Envelope, error) {
	if len(b) > MaxValue {
		return nil, fmt.Errorf("decode event: %w: %d bytes", ErrTooLarge, len(b))
	}
	e := new(eventv1.Envelope)
	if err := proto.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("decode event: %w: %w", ErrMalformed, err)
	}
	if err := check(e); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	return e, nil
}

func check(e *eventv1.Envelope) error {
	if err := checkID(e.GetId()); err != nil {
		return err
	}
	if e.GetType() == "" || e.GetPayload() == nil {
		return fmt.Errorf("%w: no type or no payload", ErrMalformed)
	}
	if err := e.GetTime().CheckValid(); err != nil {
		return fmt.Errorf("%w: time: %w", ErrMalformed, err)
	}
	return nil
}

// randomNonce fills a nonce; crypto/rand.Read never fails (Go 1.24).
func randomNonce(n []byte) { _, _ = rand.Read(n) }
