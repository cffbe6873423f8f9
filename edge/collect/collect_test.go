package collect_test

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/segue-music/segue/edge/collect"
	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	"github.com/segue-music/segue/gen/segue/collect/v1/collectv1connect"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/stream/id"
)

// playback takes what the collector hands over.
type playback struct {
	envelopes []*eventv1.Envelope
	refuse    string // play id
	err       error
}

func (p *playback) RecordEvents(_ context.Context, req *playbackv1.RecordEventsRequest) (*playbackv1.RecordEventsResponse, error) {
	if p.err != nil {
		return nil, p.err
	}
	res := &playbackv1.RecordEventsResponse{}
	for i, raw := range req.GetEnvelopes() {
		env, err := event.Unmarshal(raw)
		if err != nil {
			return nil, err
		}
		m, err := env.GetPayload().UnmarshalNew()
		if err != nil {
			return nil, err
		}
		if m, ok := m.(interface{ GetPlayId() string }); ok && m.GetPlayId() == p.refuse {
			res.Refused = append(res.Refused, &playbackv1.RefusedEnvelope{Index: uint32(i), Reason: "no"})
			continue
		}
		p.envelopes = append(p.envelopes, env)
	}
	return res, nil
}

// users hands out listener keys.
type users struct {
	calls int
	gone  bool
}

func (u *users) GetListenerKey(context.Context, *userv1.GetListenerKeyRequest) (*userv1.GetListenerKeyResponse, error) {
	u.calls++
	if u.gone {
		return nil, fault.New(fault.NotFound, "no such listener")
	}
	return &userv1.GetListenerKeyResponse{KeyId: "k1", Key: make([]byte, 32)}, nil
}

// Key makes it an event.PersonalKeys, to read what was sealed.
func (u *users) Key(context.Context, string) (string, [32]byte, error) { return "k1", [32]byte{}, nil }

type fixture struct {
	tb    testing.TB
	clock atomic.Int64
	log   *failing
	play  *playback
	users *users
	srv   *rpctest.Server
	deps  collect.Deps
	full  error // what Space says
}

// failing is a log that can be away.
type failing struct {
	event.Log
	err  error
	hold chan struct{} // until it is closed, records are on their way
	sent chan struct{} // gets one for each that is
}

func (l *failing) Append(ctx context.Context, recs ...event.Record) error {
	if l.err != nil {
		return l.err
	}
	if l.hold != nil {
		l.sent <- struct{}{}
		<-l.hold
		return errors.Join(l.Log.Append(context.WithoutCancel(ctx), recs...), ctx.Err())
	}
	return l.Log.Append(ctx, recs...)
}

func (f *fixture) now() time.Time { return time.UnixMilli(f.clock.Load()).UTC() }

func setUp(tb testing.TB) *fixture {
	tb.Helper()
	f := &fixture{tb: tb, play: &playback{}, users: &users{}}
	f.clock.Store(1_750_000_000_000)
	log, err := locallog.Open(tb.TempDir(), locallog.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = log.Close() })
	f.log = &failing{Log: log}
	d := collect.Deps{Log: slog.New(slog.DiscardHandler), Now: f.now, Events: f.log, Playback: f.play, Keys: f.users}
	d.Config.RegisterFlags("collect.", flag.NewFlagSet("", flag.PanicOnError))
	d.Config.Burst = 400
	d.Space = func() error { return f.full }
	f.deps = d
	f.restart()
	return f
}

// restart makes the collector anew, on the same log.
func (f *fixture) restart() {
	f.tb.Helper()
	svc, err := collect.New(f.deps)
	if err == nil {
		err = svc.Recall(f.tb.Context())
	}
	if err != nil {
		f.tb.Fatal(err)
	}
	f.srv = rpctest.New(f.tb, svc.Handler)
}

func ident(parts ...any) string { return id.Derive(fmt.Sprint(parts...)).String() }

func person(name string) identity.Identity {
	return identity.Identity{
		Target: "gateway", UserID: ident("user", name), Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, IP: "192.0.2.7", UserAgent: "agent/1",
	}
}

func (f *fixture) send(who identity.Identity, events ...*collectv1.ClientEvent) (*collectv1.SendEventsResponse, error) {
	return f.sendUntil(f.tb.Context(), who, events...)
}

func (f *fixture) sendUntil(ctx context.Context, who identity.Identity, events ...*collectv1.ClientEvent) (*collectv1.SendEventsResponse, error) {
	client := collectv1connect.NewCollectServiceClient(f.srv.As(who), rpctest.URL, connect.WithInterceptors(rpc.ClientInterceptor()))
	return client.SendEvents(ctx, &collectv1.SendEventsRequest{
		DeviceId: ident("device"), SessionId: ident("session"), Events: events,
	})
}

func progress(eventID, play string) *collectv1.ClientEvent {
	return &collectv1.ClientEvent{Id: eventID, ClientUnixMs: 1_749_999_000_000, Payload: &collectv1.ClientEvent_Progress{
		Progress: &eventv1.PlaybackProgress{PlayId: ident(play), TrackId: ident("track"), HeardMs: 10},
	}}
}

func diagnostic(eventID string, d *eventv1.ClientDiagnostic) *collectv1.ClientEvent {
	return &collectv1.ClientEvent{Id: eventID, Payload: &collectv1.ClientEvent_Diagnostic{Diagnostic: d}}
}

// diagnostics are the durable ones.
func (f *fixture) diagnostics() (list []*eventv1.Envelope) {
	f.tb.Helper()
	for r, err := range f.log.Read(f.tb.Context(), event.ClientDiagnostics, 0, 0, false) {
		if err != nil {
			f.tb.Fatal(err)
		}
		env, err := event.Unmarshal(r.Value)
		if err != nil || string(r.Key) != ident("device") {
			f.tb.Fatal(err, string(r.Key))
		}
		list = append(list, env)
	}
	return list
}

// TestSendEvents_AnswerLost: an app whose answer got lost, as where its gateway died, sends
// a batch again while the first one is on its way to the log. It is there once.
func TestSendEvents_AnswerLost(t *testing.T) {
	f := setUp(t)
	f.log.hold, f.log.sent = make(chan struct{}), make(chan struct{}, 2)
	ctx, lose := context.WithCancel(t.Context())
	batch := diagnostic("d1", &eventv1.ClientDiagnostic{Name: "lost"})
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := f.sendUntil(ctx, person("ann"), batch)
		first <- err
	}()
	<-f.log.sent
	lose()
	if err := <-first; err == nil {
		t.Error("there is an answer")
	}
	go func() {
		_, err := f.send(person("ann"), batch)
		second <- err
	}()
	close(f.log.hold)
	if err := <-second; err != nil {
		t.Errorf("sent again: %v", err)
	}
	if n := len(f.diagnostics()); n != 1 {
		t.Errorf("it is %d times in the log", n)
	}
}

func wantKind(tb testing.TB, what string, err error, want fault.Kind) {
	tb.Helper()
	if fault.KindOf(err) != want || (want != 0) != (err != nil) {
		tb.Errorf("%s: got %v, want kind %v", what, err, want)
	}
}

func TestSendEvents_Access(t *testing.T) {
	f := setUp(t)
	for role, want := range map[authv1.Role]fault.Kind{
		authv1.Role_ROLE_LISTENER: 0, authv1.Role_ROLE_ARTIST: 0, authv1.Role_ROLE_LABEL: 0, authv1.Role_ROLE_ADMIN: 0,
		authv1.Role_ROLE_UNSPECIFIED: fault.Denied,
	} {
		who := person("ann")
		who.Roles = []authv1.Role{role}
		_, err := f.send(who, progress("1", "p"))
		wantKind(t, role.String(), err, want)
	}
	_, err := f.send(identity.Identity{}, progress("1", "p"))
	wantKind(t, "nobody", err, fault.Unauthenticated)
	for _, target := range []string{"edge", "playback", "upload", "warehouse"} {
		_, err := f.send(identity.Identity{Target: target}, progress("1", "p"))
		wantKind(t, target, err, fault.Denied)
	}
}

// TestSendEvents_Envelope: everything but the payload is the server's word.
func TestSendEvents_Envelope(t *testing.T) {
	f := setUp(t)
	res, err := f.send(person("ann"), progress("1", "p"))
	if err != nil || res.GetAccepted() != 1 {
		t.Fatal(res, err)
	}
	got := f.play.envelopes[0]
	personal, err := event.Open(t.Context(), f.users, got)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&eventv1.Personal{Ip: "192.0.2.7", UserAgent: "agent/1"}, personal, protocmp.Transform()); d != "" {
		t.Error(d)
	}
	want, err := event.New(id.Derive("client event", person("ann").UserID, ident("device"), "1").String(), f.now(), "device:"+ident("device"), 0,
		progress("1", "p").GetProgress())
	if err != nil {
		t.Fatal(err)
	}
	playID, err := id.Parse(ident("p"))
	if err != nil {
		t.Fatal(err)
	}
	want.TraceId = hex.EncodeToString(playID[:]) // not that of the request
	want.UserId, want.ActorId, want.DeviceId, want.SessionId = person("ann").UserID, person("ann").UserID, ident("device"), ident("session")
	if d := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(want, "client_time", "personal", "personal_key_id")); d != "" {
		t.Error(d)
	}
	if strings.Contains(string(got.GetPersonal()), "agent") {
		t.Error("personal fields in the clear")
	}
	if _, err := f.send(person("ann"), progress("1", "p")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.send(person("bob"), progress("1", "p")); err != nil {
		t.Fatal(err)
	}
	if e := f.play.envelopes; e[1].GetId() != e[0].GetId() || e[2].GetId() == e[0].GetId() {
		t.Error("a repeat has another id, or another listener the same")
	}
	if f.users.calls != 2 {
		t.Errorf("%d calls for the keys of two listeners", f.users.calls)
	}
}

func TestSendEvents_ClientTime(t *testing.T) {
	f := setUp(t)
	const day = 24 * time.Hour
	for name, c := range map[string]struct{ said, want time.Duration }{
		"now": {0, 0}, "a_week_in_the_spool": {-7 * day, -7 * day}, "clock_ahead": {day, 0}, "clock_at_1970": {-20_000 * day, -30 * day},
		"bound": {-30 * day, -30 * day},
	} {
		t.Run(name, func(t *testing.T) {
			e := progress(name, "p")
			e.ClientUnixMs = f.now().Add(c.said).UnixMilli()
			if _, err := f.send(person("ann"), e); err != nil {
				t.Fatal(err)
			}
			got := f.play.envelopes[len(f.play.envelopes)-1]
			if !got.GetClientTime().AsTime().Equal(f.now().Add(c.want)) || !got.GetTime().AsTime().Equal(f.now()) {
				t.Errorf("client %v, server %v", got.GetClientTime().AsTime(), got.GetTime().AsTime())
			}
		})
	}
	e := progress("extreme", "p")
	for _, ms := range []int64{math.MinInt64, math.MaxInt64} {
		e.ClientUnixMs = ms
		if _, err := f.send(person("ann"), e); err != nil {
			t.Error(err)
		}
	}
}

// TestSendEvents_Refused: a hopeless event is refused alone, whatever it is.
func TestSendEvents_Refused(t *testing.T) {
	f := setUp(t)
	f.play.refuse = ident("refused by playback")
	unknown := &eventv1.PlaybackProgress{PlayId: ident("p"), TrackId: ident("track")}
	unknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1})
	for name, e := range map[string]*collectv1.ClientEvent{
		"no_payload":       {},
		"play_id":          {Payload: &collectv1.ClientEvent_Progress{Progress: &eventv1.PlaybackProgress{PlayId: "../x", TrackId: ident("track")}}},
		"track_id":         {Payload: &collectv1.ClientEvent_Ended{Ended: &eventv1.PlaybackEnded{PlayId: ident("p")}}},
		"long_heard":       {Payload: &collectv1.ClientEvent_Ended{Ended: &eventv1.PlaybackEnded{PlayId: ident("p"), TrackId: ident("track"), HeardMs: 1 << 62}}},
		"long_reason":      {Payload: &collectv1.ClientEvent_Ended{Ended: &eventv1.PlaybackEnded{PlayId: ident("p"), TrackId: ident("track"), Reason: strings.Repeat("x", 65)}}},
		"long_message":     {Payload: &collectv1.ClientEvent_Error{Error: &eventv1.PlaybackError{PlayId: ident("p"), TrackId: ident("track"), Message: strings.Repeat("x", 513)}}},
		"odd_quality":      {Payload: &collectv1.ClientEvent_Quality{Quality: &eventv1.QualityChanged{PlayId: ident("p"), TrackId: ident("track"), ToKbps: 1 << 31}}},
		"unknown_field":    {Payload: &collectv1.ClientEvent_Progress{Progress: unknown}},
		"no_name":          diagnostic("x", &eventv1.ClientDiagnostic{}),
		"name":             diagnostic("x", &eventv1.ClientDiagnostic{Name: "<b>"}),
		"value":            diagnostic("x", &eventv1.ClientDiagnostic{Name: "a", Values: map[string]float64{"v": math.NaN()}}),
		"value_name":       diagnostic("x", &eventv1.ClientDiagnostic{Name: "a", Values: map[string]float64{"V": 1}}),
		"long_label":       diagnostic("x", &eventv1.ClientDiagnostic{Name: "a", Labels: map[string]string{"l": strings.Repeat("x", 513)}}),
		"refused_playback": progress("x", "refused by playback"),
	} {
		t.Run(name, func(t *testing.T) {
			f.clock.Add(time.Minute.Milliseconds())
			e.Id = name
			before, after := progress(name+"-before", "p"), progress(name+"-after", "p")
			res, err := f.send(person("ann"), before, e, after)
			if err != nil {
				t.Fatal(err)
			}
			if res.GetAccepted() != 2 || len(res.GetRefused()) != 1 || res.GetRefused()[0].GetId() != name || res.GetRefused()[0].GetReason() == "" {
				t.Errorf("%v", res)
			}
		})
	}
	if got := f.diagnostics(); len(got) != 0 {
		t.Errorf("published %v", got)
	}
	_, err := f.send(person("ann"), progress("<script>", "p"))
	wantKind(t, "an id that cannot be named", err, fault.Invalid)
	_, err = f.send(person("ann"))
	wantKind(t, "no events", err, fault.Invalid)
}

func TestSendEvents_Bounds(t *testing.T) {
	f := setUp(t)
	batch := func(n int) (list []*collectv1.ClientEvent) {
		for i := range n {
			list = append(list, progress(fmt.Sprint(i), "p"))
		}
		return list
	}
	_, err := f.send(person("ann"), batch(201)...)
	wantKind(t, "201 events", err, fault.Invalid)
	big := progress("1", "p")
	big.GetProgress().TrackId = strings.Repeat("x", 600<<10)
	_, err = f.send(person("ann"), big)
	if err == nil {
		t.Error("600 KiB were accepted")
	}
	for range 2 {
		_, err = f.send(person("ann"), batch(200)...)
		wantKind(t, "the burst", err, 0)
	}
	_, err = f.send(person("ann"), batch(1)...)
	wantKind(t, "over the burst", err, fault.Exhausted)
	wait := fault.RetryAfter(err)
	if wait <= 0 || wait > time.Second {
		t.Errorf("retry in %v", wait)
	}
	_, err = f.send(person("bob"), batch(200)...)
	wantKind(t, "another listener", err, 0)
	f.clock.Add(wait.Milliseconds())
	_, err = f.send(person("ann"), batch(1)...)
	wantKind(t, "after the wait", err, 0)
	f.clock.Add(-365 * 24 * time.Hour.Milliseconds())
	_, err = f.send(person("ann"), batch(1)...)
	wantKind(t, "after the clock was set back a year", err, fault.Exhausted)
	if wait = fault.RetryAfter(err); wait <= 0 || wait > time.Second {
		t.Errorf("retry in %v after the clock was set back a year", wait)
	}
	f.clock.Add(wait.Milliseconds())
	_, err = f.send(person("ann"), batch(1)...)
	wantKind(t, "after that wait", err, 0)
}

func TestSendEvents_Diagnostics(t *testing.T) {
	f := setUp(t)
	d := diagnostic("d1", &eventv1.ClientDiagnostic{
		Name: "start", Values: map[string]float64{"start_ms": 54}, Labels: map[string]string{"transport": "webtransport"},
	})
	f.log.err = errors.New("disk full")
	_, err := f.send(person("ann"), d)
	wantKind(t, "while the log is away", err, fault.Unavailable)
	f.log.err = nil
	for range 3 { // the failed one was not taken for done, the repeats are
		res, err := f.send(person("ann"), d, d)
		if err != nil || res.GetAccepted() != 2 {
			t.Fatal(res, err)
		}
	}
	got := f.diagnostics()
	if len(got) != 1 || got[0].GetUserId() != person("ann").UserID || got[0].GetType() != "ClientDiagnostic" {
		t.Fatalf("published %v", got)
	}
	m, err := got[0].GetPayload().UnmarshalNew()
	if err != nil || !proto.Equal(m, d.GetDiagnostic()) {
		t.Errorf("%v, %v", m, err)
	}
	if len(f.play.envelopes) != 0 {
		t.Errorf("playback was given %v", f.play.envelopes)
	}
}

// TestSendEvents_NotDurable: what could not be kept is not acknowledged.
func TestSendEvents_NotDurable(t *testing.T) {
	f := setUp(t)
	f.play.err = fault.New(fault.Unavailable, "away")
	_, err := f.send(person("ann"), progress("1", "p"))
	wantKind(t, "playback is away", err, fault.Unavailable)
	f.play.err = nil
	f.users.gone = true
	_, err = f.send(person("bob"), progress("1", "p"))
	wantKind(t, "listener is gone", err, fault.Denied)
	if len(f.play.envelopes) != 0 {
		t.Errorf("recorded %v", f.play.envelopes)
	}
}

// TestSendEvents_RepeatAfterRestart: what became durable before a restart, without an
// answer, comes again and is known.
func TestSendEvents_RepeatAfterRestart(t *testing.T) {
	f := setUp(t)
	d := diagnostic("d1", &eventv1.ClientDiagnostic{Name: "start"})
	for range 3 {
		if res, err := f.send(person("ann"), d); err != nil || res.GetAccepted() != 1 {
			t.Fatal(res, err)
		}
		f.restart()
	}
	if got := f.diagnostics(); len(got) != 1 {
		t.Errorf("%d records of one event", len(got))
	}
}

// TestSendEvents_DiskFull: diagnostics are shed and counted, events of plays are not.
func TestSendEvents_DiskFull(t *testing.T) {
	f := setUp(t)
	reg := prometheus.NewRegistry()
	f.deps.Metrics = reg
	f.restart()
	d := diagnostic("d1", &eventv1.ClientDiagnostic{Name: "start"})
	for name, full := range map[string]func(error){
		"reserve": func(err error) { f.full = err },
		"log":     func(err error) { f.log.err = err },
	} {
		t.Run(name, func(t *testing.T) {
			full(fmt.Errorf("write: %w", fault.Disk(syscall.ENOSPC)))
			res, err := f.send(person("ann"), d, progress(name, "p"))
			if err != nil || res.GetAccepted() != 1 || len(res.GetRefused()) != 1 || res.GetRefused()[0].GetId() != "d1" {
				t.Errorf("%v %v", res, err)
			}
			full(nil)
		})
	}
	shed := 0.0
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "segue_collect_events_total" && m.GetLabel()[0].GetValue() == "shed" {
				shed = m.GetCounter().GetValue()
			}
		}
	}
	if shed != 2 || len(f.diagnostics()) != 0 || len(f.play.envelopes) != 2 {
		t.Errorf("%v shed, %d diagnostics, %d of plays", shed, len(f.diagnostics()), len(f.play.envelopes))
	}
	if res, err := f.send(person("ann"), d); err != nil || res.GetAccepted() != 1 || len(f.diagnostics()) != 1 {
		t.Errorf("with space again: %v %v", res, err)
	}
}
