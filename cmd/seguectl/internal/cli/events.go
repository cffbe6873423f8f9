package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/cmd/seguectl/internal/act"
	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
)

type eventsCmd struct {
	Tail   tailCmd   `cmd:"" help:"Print events as they are written, until ctrl-C."`
	Grep   grepCmd   `cmd:"" help:"Print the events that contain a text, oldest first."`
	Replay replayCmd `cmd:"" help:"Print all that a topic ever had, in order, one JSON object a line."`
	Flush  flushCmd  `cmd:"" help:"Write what is open to Parquet files now."`
}

// match are the flags that choose events.
type match struct {
	Topic   []string `placeholder:"NAME" help:"Only events of this topic. May be repeated."`
	Type    []string `placeholder:"NAME" help:"Only events of this type, such as TrackPlayed. May be repeated."`
	Trace   traceID  `placeholder:"ID" help:"Only events of this trace: 32 hex digits, or the play id of a start of a track."`
	JSON    bool     `name:"json" help:"Print one JSON object a line."`
	Pattern string   `arg:"" optional:"" help:"Text that the event contains, in any case."`
}

func (m *match) filter() *warehousev1.Filter {
	return &warehousev1.Filter{Topics: m.Topic, Types: m.Type, TraceId: string(m.Trace), Contains: m.Pattern}
}

type tailCmd struct{ match }

// followAgain is the pause before a stream that ended is followed anew.
const followAgain = time.Second

func (c *tailCmd) Run(ctx context.Context, r *run) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	for {
		err := c.follow(ctx, r, a.Audit())
		if ctx.Err() != nil {
			return nil //nolint:nilerr // that is how it ends
		}
		if err != nil && connect.CodeOf(err) != connect.CodeUnavailable && connect.CodeOf(err) != connect.CodeDeadlineExceeded {
			return fmt.Errorf("follow events: %w", err)
		}
		r.note("The stream has ended, following again: some events may be missing here.")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followAgain):
		}
	}
}

func (c *tailCmd) follow(ctx context.Context, r *run, audit warehousev1connect.AuditServiceClient) error {
	stream, err := audit.TailEvents(ctx, &warehousev1.TailEventsRequest{Filter: c.filter()})
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if err := printEvent(r.Out, stream.Msg().GetEvent(), c.JSON); err != nil {
			return err
		}
	}
	return stream.Err()
}

type grepCmd struct {
	match
	span
}

func (c *grepCmd) Run(ctx context.Context, r *run) error {
	return search(ctx, r, c.filter(), c.span, c.JSON)
}

// span are the flags that bound a search.
type span struct {
	From  when   `placeholder:"TIME" help:"Not before this time: 2006-01-02, 2006-01-02T15:04:05Z, or 2h for two hours ago."`
	To    when   `placeholder:"TIME" help:"Before this time."`
	Limit uint32 `default:"1000" help:"At most so many, up to 100000."`
}

type auditCmd struct {
	Subject []string `placeholder:"KIND:ID" help:"What it is about: user:ID, track:ID, album:ID, upload:ID. May be repeated."`
	Actor   string   `placeholder:"ID" help:"Only what this account did."`
	Trace   traceID  `placeholder:"ID" help:"Only what is of this trace: 32 hex digits, or the play id of a start of a track. It may stand without --subject."`
	JSON    bool     `name:"json" help:"Print one JSON object a line."`
	span
}

func (c *auditCmd) Run(ctx context.Context, r *run) error {
	for _, s := range c.Subject {
		if kind, id, ok := strings.Cut(s, ":"); !ok || kind == "" || id == "" {
			return fmt.Errorf("--subject %q should be KIND:ID, such as user:ID", s)
		}
	}
	subjects := c.Subject
	if len(subjects) == 0 {
		if c.Trace == "" {
			return errors.New("--subject or --trace is needed")
		}
		subjects = []string{""}
	}
	for _, s := range subjects {
		f := &warehousev1.Filter{Subject: s, ActorId: c.Actor, TraceId: string(c.Trace)}
		if err := search(ctx, r, f, c.span, c.JSON); err != nil {
			return err
		}
	}
	return nil
}

func search(ctx context.Context, r *run, f *warehousev1.Filter, s span, asJSON bool) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	f.From, f.To = s.From.stamp(), s.To.stamp()
	stream, err := a.Audit().SearchEvents(ctx, &warehousev1.SearchEventsRequest{Filter: f, Limit: s.Limit})
	if err != nil {
		return fmt.Errorf("search events: %w", err)
	}
	defer stream.Close()
	var n uint32
	for stream.Receive() {
		n++
		if err := printEvent(r.Out, stream.Msg().GetEvent(), asJSON); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil {
		return fmt.Errorf("search events: %w", err)
	}
	if n > 0 && n == s.Limit {
		r.note("There may be more: --limit is %d.", s.Limit)
	}
	return nil
}

// traceID is a trace, as 32 hex digits.
type traceID string

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *traceID) UnmarshalText(b []byte) error {
	s, err := act.Parse(string(b))
	*t = traceID(s)
	return err
}

// printEvent prints one event as its JSON, or as time, type, subject, trace and what it
// says.
func printEvent(w io.Writer, e *warehousev1.StoredEvent, asJSON bool) error {
	line := e.GetJson()
	if !asJSON {
		env := e.GetEnvelope()
		line = show.Clean(fmt.Sprintf("%s  %-22s  %-30s  %-32s  %s", env.GetTime().AsTime().UTC().Format("2006-01-02T15:04:05.000Z"),
			env.GetType(), orDash(env.GetSubject()), orDash(env.GetTraceId()), payloadOf(e.GetJson())))
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// payloadOf is the payload in an event's JSON, without its type.
func payloadOf(text string) string {
	var e struct {
		Payload map[string]json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return text
	}
	delete(e.Payload, "@type")
	b, err := json.Marshal(e.Payload)
	if err != nil {
		return text
	}
	return string(b)
}

// when is a time, or a duration before now.
type when struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *when) UnmarshalText(b []byte) error {
	text := string(b)
	if d, err := time.ParseDuration(text); err == nil {
		w.Time = time.Now().Add(-max(d, -d))
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			w.Time = t
			return nil
		}
	}
	return fmt.Errorf("%q is no time: 2006-01-02, 2006-01-02T15:04:05Z or 2h", text)
}

func (w when) stamp() *timestamppb.Timestamp {
	if w.IsZero() {
		return nil
	}
	return timestamppb.New(w.Time)
}
