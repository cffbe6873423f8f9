// Package collect is where apps deliver their events: batches, acknowledged when they
// are durable. Whom an event is about and when it came are set here, from the identity
// of the call and the server's clock; what the client's address and program are is
// sealed with the listener's own key. Events of plays go to playback, which checks them
// against what it knows of the play; diagnostics go to their topic.
//
// It owns no data: an event that comes again has the same id, by which playback and the
// consumers of diagnostics know it.
package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/listenerkeys"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	"github.com/segue-music/segue/gen/segue/collect/v1/collectv1connect"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/stream/id"
)

const (
	maxEvents = 200
	// maxRequest bounds a batch in bytes.
	maxRequest = 512 << 10
	// maxAge is how far behind the server's clock a client's time may be; it is never
	// ahead of it. Beyond, it is set to the bound.
	maxAge = 30 * 24 * time.Hour
)

var (
	errTooMany = fault.New(fault.Exhausted, "too many events: send them later")
	errGone    = fault.New(fault.Denied, "account is gone")
	errLog     = fault.New(fault.Unavailable, "event log is not reachable")
)

// Deps are what the collector needs. Metrics may be nil.
type Deps struct {
	Config   Config
	Log      *slog.Logger
	Now      func() time.Time
	Metrics  prometheus.Registerer
	Events   event.Log
	Playback playbackv1connect.RecordServiceClient
	Keys     userv1connect.ListenerKeyServiceClient
	// Space is an error when the disk has no space for what is of the least worth; nil
	// is none.
	Space func() error
}

// Service implements collectv1connect.CollectServiceHandler.
type Service struct {
	Deps
	pub   *event.Publisher
	keys  *listenerkeys.Keys
	limit limit
	turns turns
	seen  *otter.Cache[string, struct{}] // ids of diagnostics that are durable
	told  *metrics
}

// New makes the collector.
func New(d Deps) (*Service, error) {
	if err := d.Config.Validate(); err != nil {
		return nil, fmt.Errorf("collect config: %w", err)
	}
	seen, err := otter.New(&otter.Options[string, struct{}]{MaximumSize: d.Config.Remembered})
	if err != nil {
		return nil, fmt.Errorf("collect: %w", err)
	}
	s := &Service{
		Deps: d, pub: event.NewPublisher(d.Events, event.OwnerCollect), seen: seen,
		keys: listenerkeys.New(d.Keys, d.Config.KeyFresh, d.Now), limit: newLimit(d.Config, d.Now()), turns: turns{taken: map[string]chan struct{}{}},
	}
	if s.told, err = newMetrics(d.Metrics, d.Config.Remembered); err != nil {
		return nil, fmt.Errorf("collect metrics: %w", err)
	}
	return s, nil
}

// Handler serves CollectService.
func (s *Service) Handler(opts ...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(collectv1connect.NewCollectServiceHandler(s, append(opts, connect.WithReadMaxBytes(maxRequest))...))
	return mux
}

// Run has nothing to do in the background; it returns when ctx ends.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// SendEvents implements collectv1connect.CollectServiceHandler.
func (s *Service) SendEvents(ctx context.Context, req *collectv1.SendEventsRequest) (*collectv1.SendEventsResponse, error) {
	who, now := identity.From(ctx), s.Now().UTC()
	if wait, ok := s.limit.take(now, who.UserID, len(req.GetEvents())); !ok {
		s.told.events.WithLabelValues("limited").Add(float64(len(req.GetEvents())))
		return nil, errTooMany.RetryIn(wait)
	}
	res := &collectv1.SendEventsResponse{}
	var plays, diagnostics []*eventv1.Envelope
	var playIDs, diagnosticIDs []string // the client's ids of them
	var reports []report                // of plays, for the metrics
	for _, e := range req.GetEvents() {
		payload := payloadOf(e)
		if why := check(payload); why != "" {
			res.Refused = append(res.Refused, &collectv1.RefusedEvent{Id: e.GetId(), Reason: why})
			continue
		}
		env, err := s.envelope(ctx, who, req, e, payload, now)
		if err != nil {
			return nil, fmt.Errorf("send events: %w", err)
		}
		if _, ok := payload.(*eventv1.ClientDiagnostic); ok {
			diagnostics, diagnosticIDs = append(diagnostics, env), append(diagnosticIDs, e.GetId())
		} else {
			plays, playIDs = append(plays, env), append(playIDs, e.GetId())
			reports = append(reports, report{e.GetId(), env.GetId(), payload})
		}
	}
	// Diagnostics are the class of events that goes first: apps drop what was shed, and
	// their listens come through.
	shed := 0
	if err := s.publish(ctx, who.UserID, req.GetDeviceId(), diagnostics); errors.Is(err, fault.ErrDiskFull) {
		shed = len(diagnostics)
		for i := range diagnostics {
			res.Refused = append(res.Refused, &collectv1.RefusedEvent{Id: diagnosticIDs[i], Reason: fault.ErrDiskFull.Error()})
		}
	} else if err != nil {
		return nil, fmt.Errorf("send events: %w", err)
	}
	refused, err := s.record(ctx, plays, playIDs)
	if err != nil {
		return nil, fmt.Errorf("send events: %w", err)
	}
	res.Refused = append(res.Refused, refused...)
	res.Accepted = uint32(len(req.GetEvents()) - len(res.Refused))
	s.told.events.WithLabelValues("accepted").Add(float64(res.Accepted))
	s.told.events.WithLabelValues("refused").Add(float64(len(res.Refused) - shed))
	s.told.events.WithLabelValues("shed").Add(float64(shed))
	s.told.plays(reports, refused)
	return res, nil
}

// envelope puts a client's event into its envelope. The id is that of the listener's
// device and the client's id: the same event has it again, and no listener can give
// an event the id of another's.
func (s *Service) envelope(ctx context.Context, who identity.Identity, req *collectv1.SendEventsRequest,
	e *collectv1.ClientEvent, payload proto.Message, now time.Time,
) (*eventv1.Envelope, error) {
	eventID := id.Derive("client event", who.UserID, req.GetDeviceId(), e.GetId()).String()
	env, err := event.New(eventID, now, "device:"+req.GetDeviceId(), 0, payload)
	if err != nil {
		return nil, err
	}
	env.ClientTime = timestamppb.New(clamp(e.GetClientUnixMs(), now))
	env.UserId, env.ActorId, env.DeviceId, env.SessionId = who.UserID, who.UserID, req.GetDeviceId(), req.GetSessionId()
	// Events of a play belong to its start, whatever request brings them, and when.
	if p, ok := payload.(interface{ GetPlayId() string }); ok {
		env.TraceId = span.OfPlay(p.GetPlayId())
	}
	event.Trace(ctx, env)
	if who.IP == "" && who.UserAgent == "" {
		return env, nil
	}
	err = event.Seal(ctx, s.keys, env, &eventv1.Personal{Ip: who.IP, UserAgent: who.UserAgent})
	if errors.Is(err, event.ErrShredded) {
		return nil, errGone.Because(err)
	}
	return env, err
}

// clamp keeps a client's time within [now-maxAge, now].
func clamp(ms int64, now time.Time) time.Time {
	oldest := now.Add(-maxAge)
	switch {
	case ms <= oldest.UnixMilli():
		return oldest
	case ms >= now.UnixMilli():
		return now
	}
	return time.UnixMilli(ms).UTC()
}

// publish makes diagnostics durable, without those that are already.
func (s *Service) publish(ctx context.Context, userID, deviceID string, envs []*eventv1.Envelope) error {
	if len(envs) == 0 {
		return nil
	}
	done, err := s.turns.take(ctx, userID+" "+deviceID)
	if err != nil {
		return errLog.RetryIn(time.Second).Because(err)
	}
	defer done()
	fresh := make([]*eventv1.Envelope, 0, len(envs))
	inBatch := map[string]bool{}
	for _, e := range envs {
		if _, seen := s.seen.GetIfPresent(e.GetId()); !seen && !inBatch[e.GetId()] {
			inBatch[e.GetId()] = true
			fresh = append(fresh, e)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if s.Space != nil {
		if err := s.Space(); err != nil {
			return err
		}
	}
	// Whether they are known afterwards does not hang on who waits for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishLimit)
	defer cancel()
	err = fault.Disk(s.pub.Publish(ctx, event.ClientDiagnostics, deviceID, fresh...))
	if errors.Is(err, fault.ErrDiskFull) {
		return err
	}
	if err != nil {
		return errLog.RetryIn(time.Second).Because(err)
	}
	for _, e := range fresh {
		s.seen.Set(e.GetId(), struct{}{})
	}
	return nil
}

// record hands events of plays to playback and returns those that it refused.
func (s *Service) record(ctx context.Context, envs []*eventv1.Envelope, ids []string) ([]*collectv1.RefusedEvent, error) {
	if len(envs) == 0 {
		return nil, nil
	}
	req := &playbackv1.RecordEventsRequest{Envelopes: make([][]byte, len(envs))}
	for i, e := range envs {
		b, err := event.Marshal(e)
		if err != nil {
			return nil, err
		}
		req.Envelopes[i] = b
	}
	res, err := s.Playback.RecordEvents(ctx, req)
	if err != nil {
		return nil, err
	}
	var refused []*collectv1.RefusedEvent
	for _, r := range res.GetRefused() {
		if int64(r.GetIndex()) < int64(len(ids)) {
			refused = append(refused, &collectv1.RefusedEvent{Id: ids[r.GetIndex()], Reason: r.GetReason()})
		}
	}
	return refused, nil
}
