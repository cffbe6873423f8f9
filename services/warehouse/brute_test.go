package warehouse_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// TestSearch_EqualsBruteForce compares searches with a plain walk over all that was
// ever appended, whatever of it is in the lake, in the log, in both or there twice.
func TestSearch_EqualsBruteForce(t *testing.T) {
	dir, front := t.TempDir(), newFrontend(t)
	rapid.Check(t, func(rt *rapid.T) {
		run, err := os.MkdirTemp(dir, "")
		if err != nil {
			rt.Fatal(err)
		}
		w := newWorldBehind(t, run, front)
		w.conf.FileRows = rapid.IntRange(1, 9).Draw(rt, "file rows")
		w.open()
		topics := []string{event.Playback, event.UserIdentity, event.Billing}
		type entry struct {
			topic  string
			offset int64
			env    *eventv1.Envelope
		}
		var all []entry
		next := map[string]int64{}
		start := w.clock.now()
		for range rapid.IntRange(0, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				w.flush()
			case 1:
				w.clock.move(time.Duration(rapid.IntRange(1, 90).Draw(rt, "minutes")) * time.Minute)
			case 2:
				w.open()
			default:
				topic := rapid.SampledFrom(topics).Draw(rt, "topic")
				if len(all) > 0 && rapid.IntRange(0, 9).Draw(rt, "double") == 0 {
					again := rapid.SampledFrom(all).Draw(rt, "of")
					if rapid.Bool().Draw(rt, "an app") { // the server's time is another
						again.env = proto.CloneOf(again.env)
						again.env.Time = at(w.clock.now())
					}
					w.append(again.topic, again.env)
					all = append(all, entry{again.topic, next[again.topic], again.env})
					next[again.topic]++
					continue
				}
				early := time.Duration(rapid.IntRange(0, 5000).Draw(rt, "early")) * time.Second / 3
				e := w.event(topic, &eventv1.LoggedIn{ClientId: rapid.SampledFrom([]string{"web", "Seguectl"}).Draw(rt, "client")}, func(e *eventv1.Envelope) {
					e.Time = at(e.GetTime().AsTime().Add(-early))
					e.Type = rapid.SampledFrom([]string{"A", "B"}).Draw(rt, "type")
				})
				all = append(all, entry{topic, next[topic], e})
				next[topic]++
			}
		}
		filter := &warehousev1.Filter{
			Topics:   rapid.SampledFrom([][]string{nil, {event.Playback}, {event.Billing, event.UserIdentity}}).Draw(rt, "topics"),
			Subject:  rapid.SampledFrom([]string{"", "user:u1", "user:none"}).Draw(rt, "subject"),
			ActorId:  rapid.SampledFrom([]string{"", "a2"}).Draw(rt, "actor"),
			Types:    rapid.SampledFrom([][]string{nil, {"A"}, {"B", "C"}}).Draw(rt, "types"),
			Contains: rapid.SampledFrom([]string{"", "seguectl", "WEB"}).Draw(rt, "contains"),
		}
		if rapid.Bool().Draw(rt, "from") {
			filter.From = at(start.Add(time.Duration(rapid.IntRange(-90, 300).Draw(rt, "from minutes")) * time.Minute))
		}
		if rapid.Bool().Draw(rt, "to") {
			filter.To = at(start.Add(time.Duration(rapid.IntRange(-90, 300).Draw(rt, "to minutes")) * time.Minute))
		}
		limit := rapid.SampledFrom([]uint32{0, 1, 3}).Draw(rt, "limit")

		slices.SortFunc(all, func(a, b entry) int {
			return cmp.Or(a.env.GetTime().AsTime().Compare(b.env.GetTime().AsTime()), cmp.Compare(a.topic, b.topic), cmp.Compare(a.offset, b.offset))
		})
		var want []string
		seen := map[string]bool{}
		for _, x := range all {
			e := x.env
			ok := (len(filter.GetTopics()) == 0 || slices.Contains(filter.GetTopics(), x.topic)) &&
				(filter.GetSubject() == "" || e.GetSubject() == filter.GetSubject() || "user:"+e.GetUserId() == filter.GetSubject()) &&
				(filter.GetActorId() == "" || e.GetActorId() == filter.GetActorId()) &&
				(len(filter.GetTypes()) == 0 || slices.Contains(filter.GetTypes(), e.GetType())) &&
				(filter.GetFrom() == nil || !e.GetTime().AsTime().Before(filter.GetFrom().AsTime())) &&
				(filter.GetTo() == nil || e.GetTime().AsTime().Before(filter.GetTo().AsTime()))
			var login eventv1.LoggedIn
			if err := e.GetPayload().UnmarshalTo(&login); err != nil {
				rt.Fatal(err)
			}
			ok = ok && strings.Contains(strings.ToLower(login.GetClientId()), strings.ToLower(filter.GetContains()))
			if ok && !seen[x.topic+e.GetId()] && (limit == 0 || len(want) < int(limit)) {
				want = append(want, fmt.Sprintf("%s %d %s", x.topic, x.offset, e.GetId()))
				seen[x.topic+e.GetId()] = true
			}
		}
		var got []string
		for _, e := range w.search(filter, limit) {
			got = append(got, fmt.Sprintf("%s %d %s", e.GetTopic(), e.GetOffset(), e.GetEnvelope().GetId()))
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			rt.Errorf("search %v (-brute force +search):\n%s", filter, diff)
		}
	})
}
