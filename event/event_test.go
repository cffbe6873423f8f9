package event_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

const id = "0123456789abcdefghijAZ"

func envelope(tb testing.TB) *eventv1.Envelope {
	tb.Helper()
	e, err := event.New(id, time.Unix(1_700_000_000, 5), "user:1", 3, &eventv1.LoggedIn{ClientId: "web"})
	if err != nil {
		tb.Fatal(err)
	}
	e.UserId = "1"
	return e
}

func TestTopics(t *testing.T) {
	seen := map[string]bool{}
	for _, topic := range event.Topics() {
		if seen[topic.Name] || topic.Owner == "" || topic.Key == "" || topic.Partitions < 1 || topic.Retention < 0 {
			t.Errorf("topic %+v is incomplete or twice", topic)
		}
		seen[topic.Name] = true
	}
}

type appended struct {
	event.Log
	recs []event.Record
}

func (a *appended) Append(_ context.Context, recs ...event.Record) error {
	a.recs = append(a.recs, recs...)
	return nil
}

func TestPublisher_Publish(t *testing.T) {
	log := &appended{}
	p := event.NewPublisher(log, event.OwnerUser)
	if err := p.Publish(t.Context(), event.Playback, "1", envelope(t)); !errors.Is(err, event.ErrNotOwner) {
		t.Errorf("another owner's topic: %v", err)
	}
	if err := p.Publish(t.Context(), "none", "1", envelope(t)); !errors.Is(err, event.ErrTopic) {
		t.Errorf("no topic: %v", err)
	}
	if len(log.recs) != 0 {
		t.Fatalf("%d records of refused events", len(log.recs))
	}
	if err := p.Publish(t.Context(), event.UserIdentity, "1", envelope(t)); err != nil || len(log.recs) != 1 {
		t.Fatalf("%d records, %v", len(log.recs), err)
	}
	got, err := event.Unmarshal(log.recs[0].Value)
	if err != nil || !proto.Equal(got, envelope(t)) {
		t.Errorf("published %v, %v", got, err)
	}
}

func TestMarshal_Refuses(t *testing.T) {
	for name, change := range map[string]func(*eventv1.Envelope){
		"short_id":   func(e *eventv1.Envelope) { e.Id = "x" },
		"odd_id":     func(e *eventv1.Envelope) { e.Id = strings.Repeat("-", 22) },
		"no_type":    func(e *eventv1.Envelope) { e.Type = "" },
		"no_payload": func(e *eventv1.Envelope) { e.Payload = nil },
		"no_time":    func(e *eventv1.Envelope) { e.Time = nil },
		"too_large":  func(e *eventv1.Envelope) { e.Payload.Value = make([]byte, event.MaxValue) },
	} {
		t.Run(name, func(t *testing.T) {
			e := envelope(t)
			change(e)
			if _, err := event.Marshal(e); err == nil {
				t.Error("it is encoded")
			}
		})
	}
}

func FuzzUnmarshal(f *testing.F) {
	b, err := event.Marshal(envelope(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := event.Unmarshal(b)
		if err != nil {
			return
		}
		again, err := event.Marshal(e)
		if errors.Is(err, event.ErrTooLarge) {
			return // a shorter, odd encoding of the same
		}
		if err != nil {
			t.Fatalf("what was decoded is not encoded: %v", err)
		}
		if e2, err := event.Unmarshal(again); err != nil || !proto.Equal(e, e2) {
			t.Errorf("%v becomes %v, %v", e, e2, err)
		}
	})
}

// keys holds a key per listener; a missing one was shredded.
type keys map[string]byte

func (k keys) Key(_ context.Context, user string) (string, [32]byte, error) {
	b, ok := k[user]
	if !ok {
		return "", [32]byte{}, event.ErrShredded
	}
	return string('a' + rune(b)), [32]byte{b}, nil
}

func TestSeal(t *testing.T) {
	ctx := t.Context()
	e, ks := envelope(t), keys{"1": 1, "2": 2}
	want := &eventv1.Personal{Email: "anna@example.org", Ip: "2001:db8::1"}
	if err := event.Seal(ctx, ks, e, want); err != nil {
		t.Fatal(err)
	}
	if b, err := event.Marshal(e); err != nil || bytes.Contains(b, []byte("anna@")) {
		t.Errorf("the clear text is in the event, or %v", err)
	}
	if got, err := event.Open(ctx, ks, e); err != nil || !proto.Equal(got, want) {
		t.Errorf("opened %v, %v", got, err)
	}
	for name, c := range map[string]struct {
		change func(*eventv1.Envelope)
		keys   keys
		want   error
	}{
		"moved_to_another_event": {func(e *eventv1.Envelope) { e.Id = strings.Repeat("z", 22) }, ks, event.ErrSealed},
		"altered":                {func(e *eventv1.Envelope) { e.Personal[20] ^= 1 }, ks, event.ErrSealed},
		"cut":                    {func(e *eventv1.Envelope) { e.Personal = e.Personal[:5] }, ks, event.ErrSealed},
		"other_listener":         {func(e *eventv1.Envelope) { e.UserId = "2" }, ks, event.ErrShredded},
		"shredded":               {func(*eventv1.Envelope) {}, keys{}, event.ErrShredded},
		"new_key":                {func(*eventv1.Envelope) {}, keys{"1": 9}, event.ErrShredded},
	} {
		t.Run(name, func(t *testing.T) {
			e := proto.Clone(e).(*eventv1.Envelope)
			c.change(e)
			if _, err := event.Open(ctx, c.keys, e); !errors.Is(err, c.want) {
				t.Errorf("opens with %v, want %v", err, c.want)
			}
		})
	}
}
