//go:build system

package system

import (
	"encoding/json"
	"maps"
	"strings"
	"time"

	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// logged is an event as tools read it.
type logged struct {
	ID, Type, Topic, Subject, UserID, DeviceID, TraceID string
	Time                                                string
	Personal                                            json.RawMessage
	Payload                                             map[string]any
}

// search finds events, oldest first.
func (d *deployment) search(admin *person, f *warehousev1.Filter) []logged {
	d.Helper()
	stream, err := admin.Audit.SearchEvents(d.Context(), &warehousev1.SearchEventsRequest{Filter: f, Limit: 100_000})
	if err != nil {
		d.Fatal(err)
	}
	defer stream.Close()
	var out []logged
	for stream.Receive() {
		var e logged
		if err := json.Unmarshal([]byte(stream.Msg().GetEvent().GetJson()), &e); err != nil {
			d.Fatal(err)
		}
		out = append(out, e)
	}
	if err := stream.Err(); err != nil {
		d.Fatal(err)
	}
	return out
}

// events finds those of a type and a subject.
func (d *deployment) events(admin *person, typ, subject string) []logged {
	d.Helper()
	return d.search(admin, &warehousev1.Filter{Types: []string{typ}, Subject: subject})
}

// counts are how many events there are of each type, no id twice.
func (d *deployment) counts(admin *person, topics ...string) map[string]int {
	d.Helper()
	out, seen := map[string]int{}, map[string]bool{}
	for _, e := range d.search(admin, &warehousev1.Filter{Topics: topics}) {
		if seen[e.ID] {
			d.Errorf("event %s, a %s, is there twice", e.ID, e.Type)
		}
		seen[e.ID] = true
		out[e.Type]++
	}
	return out
}

// replay reads a topic over the lake and the log: all that a search finds, each once and in
// the order of its partition.
func replay(d *deployment) {
	const topic = "upload-events"
	admin := d.admin()
	d.must("events", "flush") // what is there is in the lake, what comes is in the log
	admin.send("one-more.mp3", []byte("no sound"))
	d.until(15*time.Second, "the replay of all that is found", func() error {
		found := map[string]bool{}
		for _, e := range d.search(admin, &warehousev1.Filter{Topics: []string{topic}}) {
			found[e.ID] = true
		}
		next, seen := map[int32]int64{}, map[string]bool{}
		for line := range strings.Lines(d.must("events", "replay", topic)) {
			var r struct {
				Partition int32
				Offset    int64
				Event     logged
			}
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				d.Fatalf("%v in %s", err, line)
			}
			if r.Event.ID == "" || seen[r.Event.ID] || r.Offset < next[r.Partition] {
				d.Fatalf("replayed twice, out of order, or without an id: %s", line)
			}
			seen[r.Event.ID], next[r.Partition] = true, r.Offset+1
		}
		if !maps.Equal(found, seen) || len(seen) < 3 {
			return errorf("%d events are found and %d replayed", len(found), len(seen))
		}
		return nil
	})
}
