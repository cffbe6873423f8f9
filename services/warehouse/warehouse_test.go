package warehouse_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/services/warehouse"
)

func TestSearch_LakeAndLog(t *testing.T) {
	w := newWorld(t, t.TempDir())
	first := w.event(event.UserIdentity, &eventv1.LoggedIn{ClientId: "web"})
	w.clock.move(time.Hour)
	w.event(event.Upload, &eventv1.LoggedOut{Reason: "any"})
	if res := w.flush(); len(res.GetFiles()) != 2 || res.GetEvents() != 2 {
		t.Errorf("flushed %v", res)
	}
	w.clock.move(time.Minute)
	last := w.event(event.UserIdentity, &eventv1.LoggedOut{Reason: "bye"})
	got := w.search(nil, 0)
	if len(got) != 3 || !proto.Equal(got[0].GetEnvelope(), first) || !proto.Equal(got[2].GetEnvelope(), last) || got[2].GetOffset() != 1 {
		t.Fatalf("found %v", got)
	}
	var text struct {
		Topic, ID, Type, UserID, Subject string
		Payload                          map[string]string
	}
	if err := json.Unmarshal([]byte(got[0].GetJson()), &text); err != nil {
		t.Fatal(err)
	}
	if text.Topic != event.UserIdentity || text.ID != first.GetId() || text.Type != "LoggedIn" || text.Payload["clientId"] != "web" ||
		text.Payload["@type"] != "type.googleapis.com/segue.event.v1.LoggedIn" {
		t.Errorf("json %s", got[0].GetJson())
	}
	if again := w.flush(); again.GetEvents() != 1 || w.flush().GetEvents() != 0 {
		t.Errorf("flushed again %v", again)
	}
	if diff := cmp.Diff(jsons(got), jsons(w.search(nil, 0))); diff != "" {
		t.Errorf("the lake reads otherwise than the log (-log +lake):\n%s", diff)
	}
}

func jsons(events []*warehousev1.StoredEvent) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.GetJson()
	}
	return out
}

func TestSearch_Personal(t *testing.T) {
	w := newWorld(t, t.TempDir())
	seal := func(user string) func(*eventv1.Envelope) {
		return func(e *eventv1.Envelope) {
			e.UserId = user
			if err := event.Seal(t.Context(), w.keys, e, &eventv1.Personal{Email: user + "@example.org"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.event(event.UserIdentity, &eventv1.LoggedIn{}, seal("anna"))
	w.event(event.UserIdentity, &eventv1.LoggedIn{}, seal("bert"))
	w.event(event.UserIdentity, &eventv1.LoggedIn{}, seal("cleo"), func(e *eventv1.Envelope) { e.Personal[20] ^= 1 })
	w.keys.shred("bert")
	check := func() {
		t.Helper()
		got := jsons(w.search(nil, 0))
		for i, want := range []string{`"personal":{"email":"anna@example.org"}`, `"personal":"shredded"`, `"personal":"damaged"`} {
			if !strings.Contains(got[i], want) {
				t.Errorf("event %d is %s", i, got[i])
			}
		}
		if n := len(w.search(&warehousev1.Filter{Contains: "ANNA@example"}, 0)); n != 1 {
			t.Errorf("%d events by address", n)
		}
	}
	check()
	w.flush()
	check()
	w.keys.shred("anna")
	if got := jsons(w.search(nil, 0)); !strings.Contains(got[0], `"personal":"shredded"`) {
		t.Errorf("a deleted listener is still read: %s", got[0])
	}
}

func TestSearch_OddRecords(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.event(event.Catalogue, &eventv1.LoggedIn{}, func(e *eventv1.Envelope) {
		e.Type, e.Payload = "FromTheFuture", &anypb.Any{TypeUrl: "type.googleapis.com/segue.event.v1.FromTheFuture", Value: []byte("\x01\x02")}
	})
	if err := w.log.Append(t.Context(), event.Record{Topic: event.Catalogue, Key: []byte("k"), Value: []byte("\xff no event")}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got := w.search(&warehousev1.Filter{Topics: []string{event.Catalogue}}, 0)
		if len(got) != 2 || !strings.Contains(got[0].GetJson(), `"payload":{"@type":"type.googleapis.com/segue.event.v1.FromTheFuture","value":"AQI="}`) ||
			!strings.Contains(got[1].GetJson(), `"malformed":"/yBubyBldmVudA=="`) {
			t.Fatalf("found %v", jsons(got))
		}
		w.flush()
	}
}

func TestSearch_DoublesAndRefusals(t *testing.T) {
	w := newWorld(t, t.TempDir())
	e := w.event(event.Playback, &eventv1.LoggedIn{})
	w.flush()
	w.append(event.Playback, e) // a relay that was not sure
	w.append(event.Playback, e)
	if got := w.search(nil, 0); len(got) != 1 {
		t.Errorf("one event found %d times", len(got))
	}
	for name, f := range map[string]*warehousev1.Filter{
		"topic": {Topics: []string{"nothing"}},
		"time":  {From: &timestamppb.Timestamp{Nanos: -1}},
	} {
		stream, err := w.client.SearchEvents(t.Context(), &warehousev1.SearchEventsRequest{Filter: f})
		if err != nil {
			t.Fatal(err)
		}
		for stream.Receive() {
		}
		if connect.CodeOf(stream.Err()) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, stream.Err())
		}
	}
}

func TestTail(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.event(event.Playback, &eventv1.LoggedIn{})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := w.client.TailEvents(ctx, &warehousev1.TailEventsRequest{Filter: &warehousev1.Filter{Types: []string{"LoggedOut"}}})
	if err != nil {
		t.Fatal(err)
	}
	stream.ResponseHeader() // it follows from here on
	w.event(event.Playback, &eventv1.LoggedIn{})
	want := w.event(event.Playback, &eventv1.LoggedOut{Reason: "a"})
	other := w.event(event.Billing, &eventv1.LoggedOut{Reason: "b"})
	got := map[string]bool{}
	for range 2 {
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
		got[stream.Msg().GetEvent().GetEnvelope().GetId()] = true
	}
	if !got[want.GetId()] || !got[other.GetId()] {
		t.Errorf("followed %v", got)
	}
	cancel()
	if stream.Receive() || connect.CodeOf(stream.Err()) != connect.CodeCanceled {
		t.Errorf("after cancel: %v", stream.Err())
	}
}

// TestRun_Hours: an hour is written a minute after its end, and nothing before.
func TestRun_Hours(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir)
		w.clock.at = time.Date(2026, 3, 29, 0, 58, 0, 0, time.UTC)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.svc.Run(ctx) }()
		files := func() []warehouse.File {
			t.Helper()
			time.Sleep(w.conf.FlushEvery) //nolint:forbidigo // of the bubble's clock
			synctest.Wait()
			all, err := w.store.Files(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		w.event(event.Playback, &eventv1.LoggedIn{})
		w.clock.move(2*time.Minute + 30*time.Second) // 01:00:30
		w.event(event.Playback, &eventv1.LoggedIn{})
		if got := files(); len(got) != 0 {
			t.Errorf("written within the grace: %v", got)
		}
		w.clock.move(31 * time.Second)
		got := files()
		if len(got) != 1 || got[0].First != 0 || got[0].Next != 1 || !strings.Contains(got[0].Name, "hour=00") {
			t.Errorf("after the grace: %v", got)
		}
		w.clock.move(time.Hour)
		if got = files(); len(got) != 2 || got[1].First != 1 || !strings.Contains(got[1].Name, "hour=01") {
			t.Errorf("an hour later: %v", got)
		}
		lag, err := event.Lag(t.Context(), w.log, warehouse.Group, event.Playback)
		if err != nil || lag != 0 {
			t.Errorf("lag %d, %v", lag, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFlush_BySize(t *testing.T) {
	for name, change := range map[string]func(*warehouse.Config){
		"rows":  func(c *warehouse.Config) { c.FileRows = 4 },
		"bytes": func(c *warehouse.Config) { c.FileBytes = 600 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			change(&w.conf)
			w.open()
			for range 30 {
				w.event(event.Playback, &eventv1.LoggedIn{ClientId: "web"})
			}
			res := w.flush()
			if len(res.GetFiles()) < 5 || res.GetEvents() != 30 {
				t.Errorf("%d files of %d events", len(res.GetFiles()), res.GetEvents())
			}
			if got := w.search(nil, 0); len(got) != 30 {
				t.Errorf("found %d", len(got))
			}
		})
	}
}

// TestFlush_AnotherLog: a lake that is ahead of its log is never written over.
func TestFlush_AnotherLog(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for range 3 {
		w.event(event.Playback, &eventv1.LoggedIn{})
	}
	w.flush()
	fresh := newWorld(t, t.TempDir())
	fresh.blobs = w.blobs
	fresh.open()
	fresh.event(event.Playback, &eventv1.LoggedIn{})
	if _, err := fresh.client.FlushLake(t.Context(), &warehousev1.FlushLakeRequest{}); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("flush: %v", err)
	}
}

// TestRun_Compacts: the files of an hour become one when it is over for a while and all of
// it is written, and are found as before.
func TestRun_Compacts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir)
		w.clock.at = time.Date(2026, 3, 29, 0, 10, 0, 0, time.UTC)
		w.conf.FileRows, w.conf.CompactEvery, w.conf.CompactAfter = 3, time.Minute, time.Hour
		w.open()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.svc.Run(ctx) }()
		later := func(d time.Duration) (files []warehouse.File) {
			t.Helper()
			w.clock.move(d)
			time.Sleep(2 * w.conf.CompactEvery) //nolint:forbidigo // of the bubble's clock
			synctest.Wait()
			files, err := w.store.Files(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return files
		}
		for range 4 {
			for range 3 {
				w.event(event.Playback, &eventv1.LoggedIn{})
			}
			later(time.Minute)
		}
		w.event(event.Playback, &eventv1.LoggedIn{})
		if got := later(90 * time.Minute); len(got) != 5 {
			t.Errorf("%d files before the hour is over for long enough", len(got))
		}
		want := jsons(w.search(nil, 0))
		if got := later(30 * time.Minute); len(got) != 1 || got[0].First != 0 || got[0].Next != 13 {
			t.Errorf("files of the past hour: %v", got)
		}
		if diff := cmp.Diff(want, jsons(w.search(nil, 0))); diff != "" {
			t.Errorf("found otherwise (-before +after):\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
