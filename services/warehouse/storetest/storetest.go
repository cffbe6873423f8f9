// Package storetest holds every engine of the warehouse's store to its promises.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/warehouse"
)

// hour is where the suite's rows lie.
func hour() time.Time { return time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC) }

// Row makes a row whose every column says something.
func Row(offset int64, at time.Time) warehouse.Row {
	payload, err := anypb.New(&eventv1.LoggedIn{ClientId: "web", Method: fmt.Sprint("password ", offset)})
	if err != nil {
		panic(err) // a message of ours always packs
	}
	return warehouse.Row{
		Topic: event.UserIdentity, Offset: offset, LogTime: hour().Add(time.Duration(offset) * time.Millisecond), Key: fmt.Appendf(nil, "user %d", offset%3),
		PayloadJSON: `{"clientId":"web"}`,
		Envelope: &eventv1.Envelope{
			Id: fmt.Sprintf("%022d", offset), Type: "LoggedIn", Time: timestamppb.New(at), ClientTime: timestamppb.New(at.Add(-time.Second)),
			UserId: fmt.Sprint("u", offset%3), ActorId: fmt.Sprint("a", offset%5), DeviceId: "d", SessionId: "s", TraceId: strings.Repeat("ab", 16),
			SchemaVersion: 1, Subject: fmt.Sprint("user:u", offset%3), Revision: uint64(offset), Personal: []byte{0, 1, 2}, PersonalKeyId: "k", Payload: payload,
		},
	}
}

// rows makes n rows from offset on, which happened in another order than they were logged.
func rows(first int64, n int) []warehouse.Row {
	out := make([]warehouse.Row, n)
	for i := range out {
		at := hour().Add(time.Duration((i*7919)%n)*time.Second + time.Duration(i)) // to the nanosecond
		out[i] = Row(first+int64(i), at)
	}
	return out
}

func byTime(all []warehouse.Row) []warehouse.Row {
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b warehouse.Row) int { return a.Time().Compare(b.Time()) })
	return out
}

// Check is one promise; Run returns an error where the store breaks it. open opens the
// same, at first empty, store anew at each call.
type Check struct {
	Name string
	Run  func(ctx context.Context, open func() warehouse.Store) error
}

// Checks are all promises.
func Checks() []Check {
	var all []Check
	for _, c := range []struct {
		name string
		run  func(t *recorder, open func() warehouse.Store)
	}{
		{"write_and_read", writeAndRead},
		{"odd_rows", oddRows},
		{"twice", twice},
		{"one_from_an_offset", oneFromAnOffset},
		{"writers_at_once", writersAtOnce},
		{"reopen", reopen},
		{"many_files", manyFiles},
		{"compact", compact},
		{"compact_closed_only", compactClosed},
		{"compact_at_once", compactAtOnce},
		{"gap", gap},
		{"refuse", refuse},
		{"hints", hints},
		{"stop", stop},
		{"canceled", canceled},
		{"missing", missing},
	} {
		all = append(all, Check{c.name, func(ctx context.Context, open func() warehouse.Store) error {
			t := &recorder{ctx: ctx}
			t.run(func() { c.run(t, open) })
			return errors.Join(t.errs...)
		}})
	}
	return all
}

// Run runs every check as a subtest on a store of its own.
func Run(t *testing.T, fresh func(t *testing.T) (open func() warehouse.Store)) {
	t.Helper()
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), fresh(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// recorder keeps what a check finds, so that the suite can be tried on broken stores.
type recorder struct {
	ctx  context.Context //nolint:containedctx // lives as long as one check
	errs []error
}

// errEnd unwinds a check that cannot go on.
var errEnd = errors.New("check ended")

func (t *recorder) run(check func()) {
	defer func() {
		if v := recover(); v != nil && v != errEnd { //nolint:errorlint // our own value
			panic(v)
		}
	}()
	check()
}

func (t *recorder) Errorf(format string, args ...any) {
	t.errs = append(t.errs, fmt.Errorf(format, args...)) //nolint:err113 // a finding
}

func (t *recorder) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(errEnd)
}

func write(t *recorder, s warehouse.Store, first int64, all []warehouse.Row) warehouse.File {
	f, err := s.Write(t.ctx, first, all)
	if err != nil {
		t.Fatalf("write from %d: %v", first, err)
	}
	return f
}

func read(t *recorder, s warehouse.Store, f warehouse.File, hint warehouse.Hint) []warehouse.Row {
	var out []warehouse.Row
	for r, err := range s.Rows(t.ctx, f, hint) {
		if err != nil {
			t.Fatalf("read %s: %v", f.Name, err)
		}
		out = append(out, r)
	}
	return out
}

func files(t *recorder, s warehouse.Store) []warehouse.File {
	all, err := s.Files(t.ctx)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return all
}

func same(t *recorder, what string, want, got any) {
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%.2000s", what, diff)
	}
}

func sameRows(t *recorder, what string, want, got []warehouse.Row) {
	for i := range min(len(want), len(got)) {
		if diff := diffRow(&want[i], &got[i]); diff != "" {
			t.Fatalf("%s: row %d (-want +got):\n%.2000s", what, i, diff)
		}
	}
	if len(want) != len(got) {
		t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
	}
}

func diffRow(a, b *warehouse.Row) string {
	x, y := *a, *b
	x.Envelope, y.Envelope = nil, nil
	diff := cmp.Diff(x, y, cmpopts.EquateEmpty())
	if !proto.Equal(a.Envelope, b.Envelope) {
		diff += cmp.Diff(a.Envelope, b.Envelope, protocmp.Transform())
	}
	return diff
}

func writeAndRead(t *recorder, open func() warehouse.Store) {
	s, want := open(), rows(10, 9000)
	f := write(t, s, 10, want)
	if f.First != 10 || f.Next != 9010 || f.Topic != event.UserIdentity || f.Partition != 0 {
		t.Errorf("file %+v", f)
	}
	for _, part := range []string{"topic=" + event.UserIdentity, "date=2026-03-29", "hour=01"} {
		if !slices.Contains(strings.Split(f.Name, "/"), part) {
			t.Errorf("name %q has no %s", f.Name, part)
		}
	}
	sorted := byTime(want)
	if oldest, newest := sorted[0].Time(), sorted[len(sorted)-1].Time(); f.Oldest.After(oldest) || f.Newest.Before(newest) {
		t.Errorf("%v to %v, rows are of %v to %v", f.Oldest, f.Newest, oldest, newest)
	}
	sameRows(t, "rows", sorted, read(t, s, f, warehouse.Hint{}))
	same(t, "files", []warehouse.File{f}, files(t, s))
}

func oddRows(t *recorder, open func() warehouse.Store) {
	at := time.Unix(0, 0).UTC()
	unknown := Row(4, at)
	unknown.Envelope.ClientTime = nil
	unknown.Envelope.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01}) // field 127, varint 1
	bare := warehouse.Row{Topic: event.UserIdentity, Offset: 2, LogTime: hour(), Envelope: &eventv1.Envelope{Time: timestamppb.New(at), Payload: &anypb.Any{}}}
	old := Row(3, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC))
	old.Envelope.ClientTime = nil
	late := Row(5, time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC))
	epoch := Row(6, at)
	epoch.Envelope.ClientTime = timestamppb.New(at)
	none := warehouse.Row{Topic: event.UserIdentity, Offset: 7, LogTime: hour(), Key: []byte("k"), Raw: []byte("no event at all \xff")}
	s := open()
	all := []warehouse.Row{bare, old, unknown, late, epoch, none}
	f := write(t, s, 2, all)
	sameRows(t, "rows", byTime(all), read(t, s, f, warehouse.Hint{}))
	same(t, "files", []warehouse.File{f}, files(t, open()))
}

func twice(t *recorder, open func() warehouse.Store) {
	s, all := open(), rows(0, 50)
	f := write(t, s, 0, all)
	same(t, "the same file", f, write(t, s, 0, all))
	same(t, "after a restart", f, write(t, open(), 0, all))
	same(t, "files", []warehouse.File{f}, files(t, s))
	sameRows(t, "rows", byTime(all), read(t, s, f, warehouse.Hint{}))
}

// oneFromAnOffset: who writes from where a file begins is told where that ends, whichever
// of the two is longer, and also by a store that has not seen it yet.
func oneFromAnOffset(t *recorder, open func() warehouse.Store) {
	all, other := rows(0, 50), open()
	s := open()
	f := write(t, s, 0, all[:20])
	for name, w := range map[string]warehouse.Store{"this": s, "other": other, "new": open()} {
		same(t, "a longer file in "+name, f, write(t, w, 0, all))
		same(t, "a shorter file in "+name, f, write(t, w, 0, all[:5]))
	}
	g := write(t, other, f.Next, all[20:])
	same(t, "files", []warehouse.File{f, g}, files(t, open()))
	sameRows(t, "rows", byTime(all[:20]), read(t, open(), f, warehouse.Hint{}))
}

// writersAtOnce: of writers of files of all lengths one wins, and all are told the same.
func writersAtOnce(t *recorder, open func() warehouse.Store) {
	all, got := rows(0, 50), make([]warehouse.File, 8)
	errs := make([]error, len(got))
	var wg sync.WaitGroup
	for i := range got {
		s := open()
		wg.Go(func() { got[i], errs[i] = s.Write(t.ctx, 0, all[:10+i]) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%v", err)
	}
	for _, f := range got[1:] {
		same(t, "what another writer is told", got[0], f)
	}
	same(t, "files", got[:1:1], files(t, open()))
	sameRows(t, "rows", byTime(all[:got[0].Next]), read(t, open(), got[0], warehouse.Hint{}))
}

func reopen(t *recorder, open func() warehouse.Store) {
	all := rows(0, 50)
	f := write(t, open(), 0, all)
	s := open()
	same(t, "files", []warehouse.File{f}, files(t, s))
	sameRows(t, "rows", byTime(all), read(t, s, f, warehouse.Hint{}))
}

func manyFiles(t *recorder, open func() warehouse.Store) {
	s := open()
	all := rows(0, 300)
	c := write(t, s, 200, all[200:])
	a := write(t, s, 0, all[:100])
	b := write(t, s, 100, all[100:200])
	other := rows(0, 10)
	for i := range other {
		other[i].Partition = 1
	}
	d := write(t, s, 0, other)
	for i := range other {
		other[i].Partition, other[i].Topic = 0, event.Billing
	}
	e := write(t, s, 0, other)
	want := []warehouse.File{e, a, b, c, d}
	same(t, "files", want, files(t, s))
	same(t, "files after a restart", want, files(t, open()))
	sameRows(t, "rows of one", byTime(all[100:200]), read(t, s, b, warehouse.Hint{}))
}

func gap(t *recorder, open func() warehouse.Store) {
	s, all := open(), rows(5, 4)
	all = append(all[:1], all[2:]...)
	f := write(t, s, 3, all)
	if f.First != 3 || f.Next != 9 {
		t.Errorf("covers %d to %d", f.First, f.Next)
	}
	sameRows(t, "rows", byTime(all), read(t, s, f, warehouse.Hint{}))
}

func refuse(t *recorder, open func() warehouse.Store) {
	s := open()
	change := func(f func(r *warehouse.Row)) []warehouse.Row {
		all := rows(0, 3)
		f(&all[1])
		return all
	}
	for name, all := range map[string][]warehouse.Row{
		"none":         nil,
		"two_topics":   change(func(r *warehouse.Row) { r.Topic = event.Billing }),
		"partitions":   change(func(r *warehouse.Row) { r.Partition = 1 }),
		"two_hours":    change(func(r *warehouse.Row) { r.LogTime = r.LogTime.Add(time.Hour) }),
		"not_rising":   change(func(r *warehouse.Row) { r.Offset = 0 }),
		"no_time":      change(func(r *warehouse.Row) { r.Envelope.Time = nil }),
		"before_first": rows(-1, 3),
	} {
		if _, err := s.Write(t.ctx, 0, all); !errors.Is(err, warehouse.ErrRows) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := files(t, s); len(got) != 0 {
		t.Errorf("refused and written: %v", got)
	}
}

func hints(t *recorder, open func() warehouse.Store) {
	s, all := open(), rows(0, 9000)
	all[7].Envelope.Subject, all[8].Envelope.UserId, all[9].Envelope.ActorId = "track:rare", "rare", "rare"
	f := write(t, s, 0, all)
	from, to := hour().Add(5000*time.Second), hour().Add(5001*time.Second)
	for name, c := range map[string]struct {
		hint warehouse.Hint
		want func(r *warehouse.Row) bool
	}{
		"time":         {warehouse.Hint{From: from, To: to}, func(r *warehouse.Row) bool { return !r.Time().Before(from) && r.Time().Before(to) }},
		"to_the_nano":  {warehouse.Hint{From: all[3].Time(), To: all[3].Time().Add(1)}, func(r *warehouse.Row) bool { return r.Time().Equal(all[3].Time()) }},
		"subject":      {warehouse.Hint{Subject: "track:rare"}, func(r *warehouse.Row) bool { return r.Envelope.GetSubject() == "track:rare" }},
		"or_user":      {warehouse.Hint{Subject: "user:rare", UserID: "rare"}, func(r *warehouse.Row) bool { return r.Envelope.GetUserId() == "rare" }},
		"actor":        {warehouse.Hint{ActorID: "rare"}, func(r *warehouse.Row) bool { return r.Envelope.GetActorId() == "rare" }},
		"common_actor": {warehouse.Hint{ActorID: "a1"}, func(r *warehouse.Row) bool { return r.Envelope.GetActorId() == "a1" }},
	} {
		found := read(t, s, f, c.hint)
		found = slices.DeleteFunc(found, func(r warehouse.Row) bool { return !c.want(&r) })
		want := slices.DeleteFunc(byTime(all), func(r warehouse.Row) bool { return !c.want(&r) })
		if len(want) == 0 {
			t.Fatalf("%s: the case looks for nothing", name)
		}
		sameRows(t, "rows by "+name, want, found)
	}
}

func stop(t *recorder, open func() warehouse.Store) {
	s, all := open(), rows(0, 9000)
	f := write(t, s, 0, all)
	var got []warehouse.Row
	for r, err := range s.Rows(t.ctx, f, warehouse.Hint{}) {
		if err != nil {
			t.Fatalf("%v", err)
		}
		if got = append(got, r); len(got) == 3 {
			break
		}
	}
	sameRows(t, "rows", byTime(all)[:3], got)
}

func canceled(t *recorder, open func() warehouse.Store) {
	s := open()
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	if _, err := s.Write(ctx, 0, rows(0, 10)); err == nil {
		t.Errorf("written for a caller who has gone")
	}
	write(t, s, 0, rows(0, 10))
	if got := files(t, s); len(got) != 1 {
		t.Errorf("%d files", len(got))
	}
}

func missing(t *recorder, open func() warehouse.Store) {
	s := open()
	f := write(t, s, 0, rows(0, 3))
	f.Name = strings.Replace(f.Name, "hour=01", "hour=02", 1)
	failed := false
	for _, err := range s.Rows(t.ctx, f, warehouse.Hint{}) {
		failed = failed || err != nil
	}
	if !failed {
		t.Errorf("a file that is not there reads as empty")
	}
}
