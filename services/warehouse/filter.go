package warehouse

import (
	"slices"
	"strings"
	"time"

	"github.com/segue-music/segue/event"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// filter is a request's filter, read once.
type filter struct {
	topics, types    []string
	subject, actorID string
	traceID          string
	userID           string // of a subject that is a user
	from, to         time.Time
	contains         string // lower case
	hint             Hint
}

func newFilter(f *warehousev1.Filter) (*filter, error) {
	out := &filter{topics: f.GetTopics(), types: f.GetTypes(), subject: f.GetSubject(), actorID: f.GetActorId(), traceID: f.GetTraceId(), contains: strings.ToLower(f.GetContains())}
	for _, t := range out.topics {
		if _, ok := event.Lookup(t); !ok {
			return nil, ErrFilter.With("there is no topic " + t)
		}
	}
	if id, ok := strings.CutPrefix(out.subject, "user:"); ok {
		out.userID = id
	}
	if f.GetFrom() != nil {
		if f.GetFrom().CheckValid() != nil {
			return nil, ErrFilter.With("from is no time")
		}
		out.from = f.GetFrom().AsTime()
	}
	if f.GetTo() != nil {
		if f.GetTo().CheckValid() != nil {
			return nil, ErrFilter.With("to is no time")
		}
		out.to = f.GetTo().AsTime()
	}
	out.hint = Hint{From: out.from, To: out.to, Subject: out.subject, UserID: out.userID, ActorID: out.actorID, TraceID: out.traceID}
	return out, nil
}

func (f *filter) wantsTopic(t string) bool { return len(f.topics) == 0 || slices.Contains(f.topics, t) }

// mayHold reports whether a file's times are of any use.
func (f *filter) mayHold(file File) bool {
	return (f.to.IsZero() || file.Oldest.Before(f.to)) && (f.from.IsZero() || !file.Newest.Before(f.from))
}

// matches is everything but contains.
func (f *filter) matches(r *Row) bool {
	at := r.Time()
	if !f.from.IsZero() && at.Before(f.from) || !f.to.IsZero() && !at.Before(f.to) {
		return false
	}
	e := r.Envelope // nil reads as empty
	switch {
	case f.subject != "" && e.GetSubject() != f.subject && (f.userID == "" || e.GetUserId() != f.userID):
		return false
	case f.actorID != "" && e.GetActorId() != f.actorID, f.traceID != "" && e.GetTraceId() != f.traceID:
		return false
	}
	return len(f.types) == 0 || slices.Contains(f.types, e.GetType())
}
